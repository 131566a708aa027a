use std::sync::Mutex as StdMutex;

use model::id::InstanceId;

use super::*;

/// Children that write down what they are told.
#[derive(Debug, Default)]
struct Told {
    all: StdMutex<Vec<(u8, Stream)>>,
    deaf: StdMutex<bool>,
}

impl Tell<u8> for Told {
    fn tell(&self, child: u8, stream: &Stream) -> bool {
        if *self.deaf.lock().unwrap() {
            return false;
        }
        self.all.lock().unwrap().push((child, stream.clone()));
        true
    }
}

impl Told {
    fn take(&self) -> Vec<(u8, Stream)> {
        std::mem::take(&mut self.all.lock().unwrap())
    }
}

fn streams() -> (Streams<u8>, Arc<Told>) {
    let told = Arc::new(Told::default());
    (Streams::new(Arc::<Told>::clone(&told)), told)
}

const WANTED: Wanted = Wanted {
    instance: InstanceId::from_bits(7),
    follow: true,
    tail: Some(100),
    since: None,
};

fn read(streams: &Streams<u8>) -> Reader<u8> {
    streams.read(1, &WANTED, Arc::default()).unwrap()
}

fn chunk(sequence: u64, text: &str) -> Chunk {
    Chunk {
        sequence,
        text: text.to_owned(),
        end: None,
    }
}

fn text(text: &str) -> Came {
    Came::Text(text.to_owned())
}

#[test]
fn what_a_child_sends_is_read_and_it_may_send_as_much_again() {
    let (streams, told) = streams();
    let mut reader = read(&streams);
    let Some((1, Stream::Logs(logs))) = told.take().pop() else {
        panic!("it was asked")
    };
    assert_eq!((logs.instance, logs.credit), (WANTED.instance, CREDIT));
    let request = logs.request.to_string();
    assert_eq!(reader.asked(), Asked::Waits);
    assert_eq!(reader.take(), Came::Nothing);
    streams.take(1, &request, chunk(0, ""));
    assert_eq!(reader.asked(), Asked::Heard);
    assert_eq!(reader.take(), Came::Heard);
    streams.take(1, &request, chunk(1, "one\n"));
    streams.take(1, &request, chunk(2, "two\n"));
    // Twice, by another child, and of another question.
    streams.take(1, &request, chunk(2, "two\n"));
    streams.take(2, &request, chunk(3, "evil\n"));
    streams.take(1, "0.1", chunk(3, "old\n"));
    assert_eq!(reader.take(), text("one\ntwo\n"));
    assert_eq!(reader.take(), Came::Nothing);
    assert!(told.take().is_empty(), "little is granted later");
    let half = "x".repeat(GRANT as usize);
    streams.take(1, &request, chunk(3, &half));
    assert_eq!(reader.take(), text(&half));
    let bytes = GRANT + 8;
    let credit = Stream::Credit {
        request: logs.request.clone(),
        bytes,
    };
    assert_eq!(told.take(), [(1, credit)]);
    let last = Chunk {
        end: Some(End::Done),
        ..chunk(4, "last")
    };
    streams.take(1, &request, last);
    assert_eq!(reader.take(), text("last"));
    assert_eq!(reader.take(), Came::End(End::Done));
    assert_eq!(reader.take(), Came::Nothing);
    assert!(streams.is_empty());
    drop(reader);
    assert!(told.take().is_empty(), "it has ended by itself");
}

#[test]
fn a_reader_that_leaves_or_reads_nothing_is_bounded() {
    let (streams, told) = streams();
    let mut reader = read(&streams);
    let Some((_, Stream::Logs(logs))) = told.take().pop() else {
        panic!("it was asked")
    };
    let request = logs.request.to_string();
    let full = "x".repeat(16 << 10);
    for sequence in 0..4 {
        streams.take(1, &request, chunk(sequence, &full));
    }
    streams.take(1, &request, chunk(4, "x"));
    let cancel = Stream::Cancel {
        request: logs.request,
    };
    assert_eq!(told.take(), [(1, cancel)], "one byte more than it may");
    assert_eq!(reader.take(), text(&full.repeat(4)));
    assert_eq!(reader.take(), Came::End(End::Overrun));
    drop(reader);
    let reader = read(&streams);
    told.take();
    drop(reader);
    assert!(matches!(told.take()[..], [(1, Stream::Cancel { .. })]));
    assert!(streams.is_empty());
}

#[test]
fn what_is_lost_shows_and_a_child_that_goes_ends_its_answers() {
    let (streams, told) = streams();
    let mut reader = read(&streams);
    let other = streams.read(2, &WANTED, Arc::default()).unwrap();
    let Some((_, Stream::Logs(logs))) = told.take().into_iter().next() else {
        panic!("it was asked")
    };
    let request = logs.request.to_string();
    streams.take(1, &request, chunk(0, "a\n"));
    streams.take(1, &request, chunk(2, "c\n"));
    assert_eq!(reader.take(), Came::Lost);
    assert_eq!(reader.take(), text("a\nc\n"));
    streams.gone(1);
    assert_eq!(reader.take(), Came::End(End::Gone));
    assert_eq!(other.asked(), Asked::Waits);
    *told.deaf.lock().unwrap() = true;
    assert_eq!(read(&streams).asked(), Asked::Ended(End::Gone));
}

#[test]
fn credit_that_a_child_could_not_be_told_is_told_later() {
    let (streams, told) = streams();
    let mut reader = read(&streams);
    let Some((_, Stream::Logs(logs))) = told.take().pop() else {
        panic!("it was asked")
    };
    let full = "x".repeat(16 << 10);
    for sequence in 0..4 {
        streams.take(1, logs.request.as_str(), chunk(sequence, &full));
    }
    *told.deaf.lock().unwrap() = true;
    assert_eq!(reader.take(), text(&full.repeat(4)));
    *told.deaf.lock().unwrap() = false;
    assert_eq!(reader.take(), Came::Nothing);
    assert!(matches!(
        told.take()[..],
        [(1, Stream::Credit { bytes: CREDIT, .. })]
    ));
}

#[test]
fn only_so_many_are_open() {
    let (streams, _told) = streams();
    let readers: Vec<_> = (0..OPEN).map(|_| read(&streams)).collect();
    assert_eq!(streams.read(1, &WANTED, Arc::default()).unwrap_err(), Full);
    assert_eq!(streams.len(), OPEN);
    drop(readers);
    assert!(streams.is_empty());
}

#[test]
fn a_question_of_the_parent_goes_on_with_its_credit_and_its_chunks_come_back() {
    let (streams, told) = streams();
    let (sender, mut chunks) = mpsc::channel(4);
    let parents = RequestId::new("root.1").unwrap();
    let asked = WANTED.logs(parents.clone(), 100);
    let mut relay = streams.relay(1, &asked, sender.clone()).unwrap();
    let Some((_, Stream::Logs(logs))) = told.take().pop() else {
        panic!("it was asked")
    };
    assert_ne!(logs.request, parents);
    assert_eq!(logs.credit, 100);
    let own = logs.request.to_string();
    streams.take(1, &own, chunk(0, "hello\n"));
    assert_eq!(
        chunks.try_recv().unwrap(),
        (parents.clone(), chunk(0, "hello\n"))
    );
    *told.deaf.lock().unwrap() = true;
    relay.grant(50);
    *told.deaf.lock().unwrap() = false;
    relay.grant(0);
    assert!(matches!(
        told.take()[..],
        [(1, Stream::Credit { bytes: 50, .. })]
    ));
    streams.take(1, &own, chunk(1, &"x".repeat(145)));
    let (_, over) = chunks.try_recv().unwrap();
    assert_eq!((over.text.as_str(), over.end), ("", Some(End::Overrun)));
    assert!(!relay.is_open());
    told.take();

    let relay = streams.relay(1, &asked, sender.clone()).unwrap();
    streams.gone(1);
    assert_eq!(chunks.try_recv().unwrap().1.end, Some(End::Gone));
    drop(relay);
    let relay = streams.relay(1, &asked, sender).unwrap();
    told.take();
    drop(relay);
    assert!(matches!(told.take()[..], [(1, Stream::Cancel { .. })]));
}
