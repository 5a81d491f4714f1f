//! The admin interface of an Envoy.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::support::client::{empty, Client};

/// Reads a page of the admin interface; the body of a 200, otherwise what went wrong.
pub(crate) async fn page(admin: SocketAddr, path: &str) -> Result<String, String> {
    let client = Client::http1(admin);
    let request = client.request("GET", path).body(empty()).unwrap();
    let answer = client.try_send(request).await?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    if answer.status == 200 {
        Ok(text)
    } else {
        Err(format!("{}: {text}", answer.status))
    }
}

/// Asks Envoy to end. It blocks, because a drop cannot wait otherwise.
pub(crate) fn quit(admin: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(admin)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"POST /quitquitquit HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n")?;
    stream.read_to_end(&mut Vec::new())?;
    Ok(())
}

/// The addresses of the listeners that are up, by name.
pub(crate) async fn listeners(admin: SocketAddr) -> Result<BTreeMap<String, SocketAddr>, String> {
    let text = page(admin, "/listeners?format=json").await?;
    let page: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let list = page["listener_statuses"].as_array().into_iter().flatten();
    // Some listen on a path.
    let list = list.filter(|item| item["local_address"].get("socket_address").is_some());
    list.map(|item| {
        let name = item["name"].as_str().unwrap_or_default().to_owned();
        let socket = &item["local_address"]["socket_address"];
        let address = socket["address"].as_str().unwrap_or_default();
        format!("{address}:{}", socket["port_value"])
            .parse()
            .map(|address| (name, address))
            .map_err(|error| format!("{error} in {item}"))
    })
    .collect()
}
