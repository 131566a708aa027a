//! What a worker says first to its root's relay.

use std::time::Duration;

use mqtt::endpoint::relay::{Refusal, Speaks, greet, refuse};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

/// Nothing waits for it: what was written has its end.
const WITHIN: Duration = Duration::from_secs(10);

/// The first byte says in pieces of what length the others come.
///
/// Whoever is let in is passed on with every byte that was read, and with none that was not sent; who is refused gets an
/// answer of what it speaks, or none.
pub fn relay(data: &[u8]) {
    let Some((chunk, said)) = data.split_first() else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let (mut worker, mut relay) = duplex(usize::from(*chunk).max(1));
        let speaking = async {
            // A relay that has heard enough reads no further.
            let _ = worker.write_all(said).await;
            let _ = worker.shutdown().await;
            let mut answer = Vec::new();
            let _ = worker.read_to_end(&mut answer).await;
            answer
        };
        let serving = async {
            let greeted = greet(&mut relay, WITHIN).await;
            match greeted {
                Ok(greeting) => {
                    assert!(
                        said.starts_with(&greeting.bytes),
                        "other bytes are passed on"
                    );
                    drop(relay);
                    None
                }
                Err((refusal, speaks)) => {
                    refuse(relay, refusal, speaks).await;
                    Some((refusal, speaks))
                }
            }
        };
        let (answer, refused) = tokio::join!(speaking, serving);
        let first = answer.first().copied();
        let expected = match refused {
            None | Some((Refusal::Silent, _)) => None,
            Some((_, Speaks::Mqtt)) => Some(0x20),
            Some((_, Speaks::Tls)) => Some(0x15),
        };
        assert_eq!(first, expected, "{refused:?}");
    });
}
