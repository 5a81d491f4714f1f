//! RabbitMQ as Debian installs it: a node of its own, with everything that it writes in a directory of its own.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use amqprs::channel::{BasicGetArguments, BasicPublishArguments, Channel, QueueDeclareArguments};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::BasicProperties;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::support::eventually::eventually;
use crate::support::tls::Authority;

/// The script itself, not the wrapper in the path: that one insists on the user and the directories of the system's service.
const SCRIPT: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// A start takes five seconds on a machine that has nothing else to do.
const START: Duration = Duration::from_secs(120);

/// `guest:guest` as HTTP's basic authentication has it.
pub(crate) const BASIC: &str = "Z3Vlc3Q6Z3Vlc3Q=";

/// A running RabbitMQ with its management plugin. When it is dropped it is killed, and nothing that it started is left.
pub(crate) struct RabbitMq {
    node: Child,
    /// Erlang's table of nodes. A node without one starts one, which outlives it.
    epmd: Child,
    directory: TempDir,
    amqp: SocketAddr,
    amqps: SocketAddr,
    management: SocketAddr,
}

impl RabbitMq {
    /// Starts RabbitMQ. Where it is not installed this says so and gives none; with `CI` set it fails.
    pub(crate) async fn start() -> Option<Self> {
        if !Path::new(SCRIPT).exists() {
            let missing = "rabbitmq-server is not installed (Debian: apt-get install rabbitmq-server)";
            assert!(std::env::var_os("CI").is_none(), "{missing}");
            // Past the test harness, which would keep it to itself.
            let _ = writeln!(std::io::stderr(), "skipped a test: {missing}");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let [epmd_port, distribution, amqp, amqps, management] = free_ports();
        let epmd = start_epmd(&directory, epmd_port);
        // Else the node might come first.
        eventually(START, "epmd to listen", async || connect(epmd_port).await).await;
        write_identities(&directory);
        let node = start_node(&directory, epmd_port, distribution, [amqp, amqps, management]);
        let [amqp, amqps, management] = [amqp, amqps, management].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let mut rabbit = Self { node, epmd, directory, amqp, amqps, management };
        eventually(START, "RabbitMQ to be ready", async || {
            if let Some(status) = rabbit.node.try_wait().unwrap() {
                panic!("RabbitMQ ended with {status}");
            }
            // The plugin's listener comes up before the broker's.
            connect(rabbit.management.port()).await?;
            connect(rabbit.amqp.port()).await
        })
        .await;
        Some(rabbit)
    }

    /// Where its management plugin serves HTTP.
    pub(crate) fn management(&self) -> SocketAddr {
        self.management
    }

    /// Where it speaks AMQP.
    #[allow(dead_code)] // Not in every test binary.
    pub(crate) fn amqp(&self) -> SocketAddr {
        self.amqp
    }

    /// The port at which it speaks AMQP over TLS, to whom has a certificate.
    #[allow(dead_code)] // Not in every test binary.
    pub(crate) fn amqps_port(&self) -> u16 {
        self.amqps.port()
    }

    /// A file of its TLS: `ca.pem`, and `cert.pem` and `key.pem`, which fit both sides.
    #[allow(dead_code)] // Not in every test binary.
    pub(crate) fn file(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Declares a durable queue.
    pub(crate) async fn queue(&self, name: &str) -> Queue {
        let port = self.amqp.port();
        let arguments = OpenConnectionArguments::new("127.0.0.1", port, "guest", "guest");
        let connection = Connection::open(&arguments).await.unwrap();
        let channel = connection.open_channel(None).await.unwrap();
        let queue = Queue { _connection: connection, channel, name: name.to_owned() };
        assert_eq!(queue.length().await, 0);
        queue
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("output")).unwrap_or_default()
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        for child in [&mut self.node, &mut self.epmd] {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let from = log.len().saturating_sub(4_000);
            eprintln!("---- the end of RabbitMQ's log ----\n{}", log.get(from..).unwrap_or(&log));
            return;
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.survivors().is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let survivors = self.survivors();
        assert!(survivors.is_empty(), "left behind by RabbitMQ: {survivors:?}");
    }
}

impl RabbitMq {
    /// The command lines of the processes that have this node's directory in their environment, as all that it starts do.
    fn survivors(&self) -> Vec<String> {
        let mark = self.directory.path().as_os_str().as_encoded_bytes();
        let mut found = Vec::new();
        for process in fs::read_dir("/proc").unwrap().flatten() {
            let environment = fs::read(process.path().join("environ")).unwrap_or_default();
            if environment.windows(mark.len()).any(|window| window == mark) {
                let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
                found.push(String::from_utf8_lossy(&command).replace('\0', " "));
            }
        }
        found
    }
}

fn start_epmd(directory: &TempDir, port: u16) -> Child {
    Command::new("epmd")
        .env("HOME", directory.path())
        .env("ERL_EPMD_PORT", port.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn write_identities(directory: &TempDir) {
    let authority = Authority::new();
    let identity = authority.issue("localhost");
    for (name, pem) in [("ca.pem", &authority.pem), ("cert.pem", &identity.pem), ("key.pem", &identity.key)] {
        fs::write(directory.path().join(name), pem).unwrap();
    }
}

fn start_node(directory: &TempDir, epmd: u16, distribution: u16, [amqp, amqps, management]: [u16; 3]) -> Child {
    let path = |name: &str| directory.path().join(name);
    let tls = [("cacertfile", "ca.pem"), ("certfile", "cert.pem"), ("keyfile", "key.pem")];
    let tls = tls.map(|(option, name)| format!("ssl_options.{option} = {}\n", path(name).display())).concat();
    let configuration = format!(
        "listeners.tcp.1 = 127.0.0.1:{amqp}\n\
         listeners.ssl.1 = 127.0.0.1:{amqps}\n\
         {tls}\
         ssl_options.verify = verify_peer\n\
         ssl_options.fail_if_no_peer_cert = true\n\
         management.tcp.ip = 127.0.0.1\n\
         management.tcp.port = {management}\n"
    );
    fs::write(path("rabbitmq.conf"), configuration).unwrap();
    fs::write(path("plugins"), "[rabbitmq_management].").unwrap();
    fs::write(path("environment"), "").unwrap();
    let output = fs::File::create(path("output")).unwrap();
    Command::new(SCRIPT)
        .env("HOME", directory.path())
        .env("ERL_EPMD_PORT", epmd.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODENAME", "sidecast-test@localhost")
        .env("RABBITMQ_DIST_PORT", distribution.to_string())
        .env("RABBITMQ_MNESIA_BASE", path("data"))
        .env("RABBITMQ_LOG_BASE", path("log"))
        .env("RABBITMQ_LOGS", "-")
        .env("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("plugins"))
        // The system's own is not read.
        .env("RABBITMQ_CONF_ENV_FILE", path("environment"))
        // The script becomes Erlang instead of waiting for it, so that the process known here is the one to end.
        .env("RABBITMQ_ALLOW_INPUT", "1")
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-noinput -kernel inet_dist_use_interface {127,0,0,1}")
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stderr(output.try_clone().unwrap())
        .stdout(output)
        .spawn()
        .unwrap()
}

/// Ports at which nobody listens, below those that systems give to clients: none is taken by chance while the node starts.
fn free_ports<const N: usize>() -> [u16; N] {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    let mut free = (first..32_000).filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    std::array::from_fn(|_| free.next().unwrap())
}

async fn connect(port: u16) -> Result<(), String> {
    let connected = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
    connected.map(drop).map_err(|error| format!("port {port}: {error}"))
}

/// A durable queue.
pub(crate) struct Queue {
    // It ends with its connection.
    _connection: Connection,
    channel: Channel,
    name: String,
}

/// A message that was taken out of a queue.
pub(crate) struct Message {
    /// What its sender says about it.
    pub(crate) properties: BasicProperties,
    /// Its payload.
    pub(crate) payload: Vec<u8>,
}

impl Queue {
    /// Its name.
    #[allow(dead_code)] // Not in every test binary.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How many messages it holds.
    pub(crate) async fn length(&self) -> usize {
        // A second declaration tells about the queue that is there.
        let arguments = QueueDeclareArguments::durable_client_named(&self.name);
        let (_, messages, _) = self.channel.queue_declare(arguments).await.unwrap().unwrap();
        usize::try_from(messages).unwrap()
    }

    /// Puts a message into it.
    #[allow(dead_code)] // Not in every test binary.
    pub(crate) async fn put(&self, payload: Vec<u8>) {
        let properties = BasicProperties::default().with_persistence(true).finish();
        self.channel.basic_publish(properties, payload, BasicPublishArguments::new("", &self.name)).await.unwrap();
    }

    /// Takes all that it holds.
    pub(crate) async fn take(&self) -> Vec<Message> {
        let arguments = BasicGetArguments::new(&self.name).no_ack(true).finish();
        let mut messages = Vec::new();
        while let Some((_, properties, payload)) = self.channel.basic_get(arguments.clone()).await.unwrap() {
            messages.push(Message { properties, payload });
        }
        messages
    }
}
