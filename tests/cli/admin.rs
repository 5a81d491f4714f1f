//! Stand-ins for admin interfaces: each answers as it is told to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// An admin interface. Its thread ends with the test.
pub(crate) struct Admin {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Admin {
    /// One that writes these bytes to each connection, by its number, once a request has come.
    pub(crate) fn writing(answer: impl Fn(usize, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (requests, answer) = (Arc::clone(&asked), Arc::new(answer));
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let (mut stream, requests, answer) = (stream.unwrap(), Arc::clone(&requests), Arc::clone(&answer));
                thread::spawn(move || {
                    let mut head = Vec::new();
                    let mut byte = [0];
                    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                        head.push(byte[0]);
                    }
                    requests.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
                    answer(number, &mut stream);
                });
            }
        });
        Self { address, asked }
    }

    /// One that says this, with status 200.
    pub(crate) fn saying(body: impl Fn(usize) -> String + Send + Sync + 'static) -> Self {
        Self::writing(move |number, stream| write_answer(stream, "200 OK", &body(number)))
    }

    /// The heads of all requests.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Writes an answer. The tool may have gone already.
pub(crate) fn write_answer(stream: &mut TcpStream, status: &str, body: &str) {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
}
