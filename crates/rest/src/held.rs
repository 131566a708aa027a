//! Answers that go on, for as long as who asked may still ask.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Between two looks whether who asked may still ask.
const BETWEEN_LOOKS: Duration = Duration::from_secs(3);

/// Whether who asked may still ask.
type May = Box<dyn Fn() -> bool + Send>;

/// A body that breaks off when its reader may not read on: one that ended would look complete.
struct Held {
    body: Body,
    may: May,
    looks: Interval,
}

/// The same answer; one whose length is not known breaks off once `may` says no.
pub(crate) fn hold(response: Response, may: impl Fn() -> bool + Send + 'static) -> Response {
    let ends = HttpBody::size_hint(response.body()).exact().is_some();
    if ends || !response.status().is_success() {
        return response;
    }
    response.map(|body| {
        let mut looks = interval(BETWEEN_LOOKS);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // It was looked at a moment ago.
        looks.reset();
        Body::new(Held {
            body,
            may: Box::new(may),
            looks,
        })
    })
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        while self.looks.poll_tick(context).is_ready() {
            if !(self.may)() {
                let why = "who asked for this may not read it any more";
                let error = io::Error::new(io::ErrorKind::PermissionDenied, why);
                return Poll::Ready(Some(Err(axum::Error::new(error))));
            }
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::response::IntoResponse as _;
    use futures_util::stream;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_goes_on_breaks_off_within_five_seconds_and_others_are_left_alone() {
        let may = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&may);
        let words = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_mins(1)).await;
            Some((Ok::<_, Infallible>("a line\n"), ()))
        });
        let response = Body::from_stream(words).into_response();
        let held = hold(response, move || asked.load(Ordering::Relaxed));
        let mut body = held.into_body().into_data_stream();
        let begun = Instant::now();
        let first = futures_util::StreamExt::next(&mut body).await;
        assert_eq!(first.unwrap().unwrap(), "a line\n");
        assert_eq!(begun.elapsed(), Duration::from_mins(1));
        may.store(false, Ordering::Relaxed);
        let (begun, next) = (Instant::now(), futures_util::StreamExt::next(&mut body));
        let error = next.await.unwrap().unwrap_err();
        assert!(error.to_string().contains("any more"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(5));

        let complete = hold("all of it".into_response(), || false);
        let bytes = axum::body::to_bytes(complete.into_body(), 100).await;
        assert_eq!(bytes.unwrap(), "all of it");
    }
}
