//! Where statistics come from: admin interfaces, and files with what they said.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Instant;

use http_body_util::Full;
use hyper::{Request, Uri};

use super::page::{beginning, pages, Page};
use crate::client::Client;

/// The statistics to ask for, and the form of histograms. Only `detailed` has the buckets that Envoy itself counts in.
const QUERY: &str = "/stats?format=json&histogram_buckets=detailed&filter=%5E(wasmcustom%5C.)?sidecast%7C%5Elistener_manager%5C.lds%5C.update_rejected$%7C%5Eserver%5C.uptime$";
/// The longest file, in bytes. The statistics of an Envoy with ten thousand clusters have about 200 MiB.
const MAX_FILE: u64 = 512 << 20;

/// A source of statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The address of an admin interface, without a path.
    Admin(String),
    File(PathBuf),
    Stdin,
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A password is not shown.
        let shown = if text.contains('@') { "an address" } else { text };
        source(text).map_err(|error| format!("{}: {error}", beginning(shown)))
    }
}

fn source(text: &str) -> Result<Source, String> {
    if text == "-" {
        return Ok(Source::Stdin);
    }
    if let Some((scheme, _)) = text.split_once("://") {
        return match scheme {
            "http" | "https" => admin(text),
            _ => Err("expected http:// or https://".to_owned()),
        };
    }
    let path = Path::new(text);
    if path.exists() {
        return Ok(Source::File(path.to_owned()));
    }
    let port = text.rsplit_once(':').and_then(|(_, port)| port.trim_end_matches('/').parse::<u16>().ok());
    match port {
        Some(_) => admin(&format!("http://{text}")),
        None => Err("no such file; expected a file, `-`, or an admin interface such as localhost:9901".to_owned()),
    }
}

fn admin(address: &str) -> Result<Source, String> {
    if address.contains('@') {
        return Err("expected no name and password: Envoy's admin interface has none".to_owned());
    }
    let address = address.trim_end_matches('/');
    let uri: Uri = address.parse().map_err(|error| format!("expected an address such as http://localhost:9901: {error}"))?;
    if uri.authority().is_none() {
        return Err("expected an address such as http://localhost:9901".to_owned());
    }
    if uri.query().is_some() {
        return Err("expected an address without a query".to_owned());
    }
    Ok(Source::Admin(address.to_owned()))
}

impl Source {
    /// The name in tables and messages.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Admin(address) => address.strip_prefix("http://").unwrap_or(address).to_owned(),
            Self::File(path) => path.display().to_string(),
            Self::Stdin => "-".to_owned(),
        }
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self, Self::Admin(address) if address.starts_with("https:"))
    }

    /// Reads the statistics, and tells when. There may be those of several Envoys, or why there are none.
    pub(super) async fn read(self, client: Client) -> (Instant, Result<Vec<Page>, String>) {
        let pages = match self {
            Self::Admin(address) => ask(&client, &address).await,
            // Reading a pipe may wait for its writer.
            file => match tokio::task::spawn_blocking(move || file.read_file()).await {
                Ok(pages) => pages,
                Err(error) => Err(error.to_string()),
            },
        };
        (Instant::now(), pages)
    }

    fn read_file(&self) -> Result<Vec<Page>, String> {
        match self {
            Self::File(path) => of_reader(std::fs::File::open(path).map_err(|error| error.to_string())?),
            _ => of_reader(std::io::stdin().lock()),
        }
    }
}

async fn ask(client: &Client, address: &str) -> Result<Vec<Page>, String> {
    let request = Request::get(format!("{address}{QUERY}")).header("accept", "application/json").body(Full::default());
    let answer = client.send(request.map_err(|error| error.to_string())?).await.map_err(|failure| failure.to_string())?;
    let status = answer.head.status();
    let text = String::from_utf8_lossy(&answer.body);
    if status != 200 {
        return Err(format!("expected status 200, found {}: {:?}", status.as_u16(), beginning(&text)));
    }
    let pages = pages(&text).map_err(|error| format!("its response {error}"))?;
    match pages.len() {
        1 => Ok(pages),
        count => Err(format!("its response has {count} pages of statistics, expected one")),
    }
}

fn of_reader(reader: impl Read) -> Result<Vec<Page>, String> {
    let mut bytes = Vec::new();
    reader.take(MAX_FILE.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_FILE) {
        return Err(format!("is longer than {MAX_FILE} bytes"));
    }
    pages(&String::from_utf8_lossy(&bytes))
}
