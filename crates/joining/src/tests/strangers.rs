//! Servers that are not the one of the token.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use identity::authority::Life;
use identity::gate::{self, Showing};
use identity::{Credential, Holder, Key};
use model::id::NodeId;
use model::time::Wall;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::DEADLINE;
use super::office::Office;
use crate::*;

/// What a client sent, as it came over the wire and as far as it could be read.
#[derive(Default)]
struct Heard {
    raw: Vec<u8>,
    read: Vec<u8>,
    /// Connections that are over.
    ended: usize,
}

/// Writes down what is read from the wire.
struct Tapped(TcpStream, Arc<Mutex<Heard>>);

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.0).poll_read(context, buffer);
        let more = &buffer.filled()[before..];
        self.1.lock().unwrap().raw.extend_from_slice(more);
        polled
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// A man in the middle: he shows that credential, or none and takes plain text, and writes down all that he gets.
async fn stranger(office: &Office, shows: Option<&Credential>) -> (String, Arc<Mutex<Heard>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap().to_string();
    let heard = Arc::new(Mutex::new(Heard::default()));
    let acceptor = shows.map(|shows| {
        let tls = gate::server(office.authority(), Showing::new(shows).unwrap());
        TlsAcceptor::from(tls.unwrap())
    });
    let writes = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = Tapped(stream, Arc::clone(&writes));
            let mut read = Vec::new();
            match &acceptor {
                Some(acceptor) => {
                    // Even where the handshake fails on the other side, he listens on.
                    if let Ok(mut stream) = acceptor.accept(stream).await {
                        let _ = stream.read_to_end(&mut read).await;
                    }
                }
                None => {
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                }
            }
            let mut heard = writes.lock().unwrap();
            heard.read.extend(read);
            heard.ended += 1;
        }
    });
    (place, heard)
}

fn life() -> Life {
    Life {
        from: Wall(0),
        lasting: Duration::from_hours(24),
    }
}

#[tokio::test]
async fn a_man_in_the_middle_gets_no_byte_of_the_secret() {
    let (office, evil) = (Office::open().await, Office::open().await);
    let own = evil.authority().server(&[], life()).unwrap();
    // He has the authority's certificate, which is no secret, but not its key.
    let key = Key::make().unwrap();
    let holder = Holder::Worker(NodeId::from_bits(7));
    let of = |office: &Office| {
        let issued = office
            .authority()
            .issue(&key.request().unwrap(), holder, life());
        issued.unwrap().certificate
    };
    let right = office.authority().certificate();
    let borrowed = Credential::new(&format!("{}{right}", of(&evil)), &key).unwrap();
    // He has joined, and pretends to be the one who let him.
    let joined = Credential::new(&format!("{}{right}", of(&office)), &key).unwrap();
    for (name, shows, is_stranger) in [
        ("of another authority", Some(&own), true),
        (
            "with the right authority's certificate",
            Some(&borrowed),
            true,
        ),
        ("who has joined himself", Some(&joined), true),
        ("in plain text", None, false),
    ] {
        let (place, heard) = stranger(&evil, shows).await;
        let mut token = office.token();
        token.places = vec![place.clone()];
        let patience = if is_stranger {
            DEADLINE
        } else {
            Duration::from_secs(2)
        };
        let error = join(&token, &Key::make().unwrap(), patience)
            .await
            .unwrap_err();
        let JoinError::Unreached(tried) = &error else {
            panic!("{name}: {error}");
        };
        let [tried] = tried.as_slice() else {
            panic!("{name}: {error}");
        };
        assert_eq!(
            matches!(tried.why, Why::Stranger),
            is_stranger,
            "{name}: {error}"
        );
        let told = error.to_string();
        assert_eq!(
            told.contains("is not the one this token was made by"),
            is_stranger,
            "{told}"
        );
        let over = async {
            while heard.lock().unwrap().ended == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(DEADLINE, over).await.unwrap();
        {
            let heard = heard.lock().unwrap();
            assert!(!heard.raw.is_empty() && heard.read.is_empty(), "{name}");
            let secret = token.secret.reveal();
            let text = String::from_utf8_lossy(&heard.raw).into_owned();
            for part in [secret.as_str(), &secret[..8], &token.id.to_string()] {
                assert!(!text.contains(part), "{name}: {part}");
            }
        }

        // The right one is found behind him.
        token.places.push(office.place().to_owned());
        join(&token, &Key::make().unwrap(), DEADLINE).await.unwrap();
    }
}
