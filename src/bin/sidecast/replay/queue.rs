//! A queue of RabbitMQ, from which letters are taken one by one. What is not acknowledged goes back to its place when the connection ends.

use std::sync::Arc;

use amqprs::channel::{BasicAckArguments, BasicGetArguments, Channel, QueueDeclareArguments};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::tls::TlsAdaptor;
use hyper::Uri;
use percent_encoding::percent_decode_str;
use rustls::ClientConfig;

/// The variable of the environment with the password.
const PASSWORD: &str = "SIDECAST_AMQP_PASSWORD";

/// What the library says of a connection that RabbitMQ cut while it was opened.
const CUT: [&str; 2] = ["reset by peer", "peer shutdown"];

/// RabbitMQ gives no reason then.
const WHY_CUT: &str =
    "the user or the password (SIDECAST_AMQP_PASSWORD) may be wrong, or the port does not speak AMQP; see RabbitMQ's log";

/// Where a queue is.
pub(super) struct Address {
    arguments: OpenConnectionArguments,
    server: String,
    host: String,
    pub(super) has_tls: bool,
    queue: String,
}

impl Address {
    /// Reads an address. An error never shows it, because it may hold a password.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(super) fn parse(url: &str, queue: &str) -> Result<Self, String> {
        let expected = "--from: expected amqp://USER@HOST:PORT/VHOST, or amqps://";
        let uri: Uri = url.parse().map_err(|error| format!("{expected}: {error}"))?;
        let (has_tls, default_port) = match uri.scheme_str() {
            Some("amqp") => (false, 5672),
            Some("amqps") => (true, 5671),
            _ => return Err(expected.to_owned()),
        };
        let authority = uri.authority().ok_or(expected)?;
        let user_and_password = authority.as_str().rsplit_once('@').map(|(user, _)| user);
        let (user, password) = match user_and_password.map(|user| user.split_once(':').unwrap_or((user, ""))) {
            Some((user, password)) => (decoded(user)?, decoded(password)?),
            None => ("guest".to_owned(), String::new()),
        };
        let password = match std::env::var(PASSWORD) {
            Ok(password) if !password.is_empty() => password,
            _ if user_and_password.is_none() && password.is_empty() => "guest".to_owned(),
            _ => password,
        };
        let vhost = match uri.path().trim_start_matches('/') {
            "" => "/".to_owned(),
            vhost => decoded(vhost)?,
        };
        // Longer ones do not fit into the protocol.
        for (what, text) in [("the virtual host", vhost.as_str()), ("--queue", queue)] {
            if text.is_empty() || text.len() > 255 {
                return Err(format!("{what}: expected 1 to 255 bytes"));
            }
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_u16().unwrap_or(default_port);
        let mut arguments = OpenConnectionArguments::new(authority.host(), port, &user, &password);
        arguments.virtual_host(&vhost).connection_name("sidecast replay");
        let server = format!("{}:{port}", authority.host());
        Ok(Self { arguments, server, host, has_tls, queue: queue.to_owned() })
    }
}

fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| "--from: not UTF-8 when decoded".to_owned())
}

/// An open queue.
pub(super) struct Queue {
    connection: Connection,
    channel: Channel,
    name: String,
    /// How many messages it had when it was opened.
    pub(super) length: u64,
}

/// A message that was taken, and is not acknowledged.
pub(super) struct Message {
    pub(super) tag: u64,
    pub(super) payload: Vec<u8>,
}

impl Queue {
    /// Opens a queue that must be there.
    ///
    /// # Errors
    /// Says which step failed. The password is not in it.
    pub(super) async fn open(mut address: Address, tls: Option<ClientConfig>) -> Result<Self, String> {
        if let Some(tls) = tls {
            address.arguments.tls_adaptor(TlsAdaptor::new(Arc::new(tls).into(), address.host));
        }
        let place = |error: amqprs::error::Error| format!("{}: {error}", address.server);
        let connection = Connection::open(&address.arguments).await.map_err(|error| {
            let error = place(error);
            if CUT.iter().any(|cut| error.contains(cut)) {
                format!("{error}; {WHY_CUT}")
            } else {
                error
            }
        })?;
        let channel = connection.open_channel(None).await.map_err(place)?;
        let declared = channel.queue_declare(QueueDeclareArguments::new(&address.queue).passive(true).finish()).await;
        let Ok(Some((_, length, _))) = declared else {
            return Err(format!("{}: no queue {:?}, or the user may not read it", address.server, address.queue));
        };
        Ok(Self { connection, channel, name: address.queue, length: length.into() })
    }

    /// Takes the next message.
    ///
    /// # Errors
    /// Returns an error if the connection or the channel is closed.
    pub(super) async fn next(&self) -> Result<Option<Message>, String> {
        let got = self.channel.basic_get(BasicGetArguments::new(&self.name)).await;
        let got = got.map_err(|error| format!("queue {:?}: {error}; see RabbitMQ's log", self.name))?;
        Ok(got.map(|(get, _, payload)| Message { tag: get.delivery_tag(), payload }))
    }

    /// How many messages wait in the queue. Those that were taken and are not acknowledged are not among them.
    ///
    /// # Errors
    /// Returns an error if the connection or the channel is closed.
    pub(super) async fn waiting(&self) -> Result<u64, String> {
        let declared = self.channel.queue_declare(QueueDeclareArguments::new(&self.name).passive(true).finish()).await;
        let declared = declared.map_err(|error| format!("queue {:?}: {error}", self.name))?;
        Ok(declared.map_or(0, |(_, waiting, _)| waiting.into()))
    }

    /// Acknowledges a message, which then leaves the queue.
    ///
    /// # Errors
    /// Returns an error if the connection or the channel is closed. The message comes again.
    pub(super) async fn acknowledge(&self, tag: u64) -> Result<(), String> {
        let gone = || format!("queue {:?}: a message could not be acknowledged and will be delivered again", self.name);
        if !self.channel.is_open() || !self.channel.is_connection_open() {
            return Err(gone());
        }
        self.channel.basic_ack(BasicAckArguments::new(tag, false)).await.map_err(|error| format!("{}: {error}", gone()))
    }

    /// Gives back what was not acknowledged. RabbitMQ has read all that was acknowledged when this returns.
    ///
    /// # Errors
    /// Returns an error if that is not sure.
    pub(super) async fn close(self) -> Result<(), String> {
        let place = |error: amqprs::error::Error| format!("queue {:?}: {error}", self.name);
        self.channel.close().await.map_err(place)?;
        self.connection.close().await.map_err(place)
    }
}
