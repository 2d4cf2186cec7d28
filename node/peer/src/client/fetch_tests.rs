//! What a download takes, and what it does not.

use super::*;
use crate::refusal::{AuthRefusal, ServeRefusal};

const CONTENT: ContentDigest = ContentDigest([1; 32]);

fn bytes() -> Vec<u8> {
    (0..100).collect()
}

fn archive(bytes: &[u8]) -> Option<v1::Archive> {
    let sha256 = sha256(bytes).0.to_vec();
    Some(v1::Archive { total_bytes: bytes.len() as u64, sha256 })
}

fn first(data: &[u8]) -> v1::Chunk {
    v1::Chunk { data: data.to_vec(), archive: archive(&bytes()) }
}

fn further(data: &[u8]) -> v1::Chunk {
    v1::Chunk { data: data.to_vec(), archive: None }
}

fn malformed(error: AnswerError) -> FetchError {
    FetchError::Ask { content: CONTENT, source: AskError::MalformedAnswer(error) }
}

#[test]
fn a_broken_stream_is_taken_up_where_it_stopped() {
    let bytes = bytes();
    let mut download = Download::new(CONTENT, 100);
    assert_eq!(download.request().offset, 0);
    assert_eq!(download.begin(first(&bytes[..30])), Ok(()));
    assert_eq!(download.next(further(&bytes[30..50])), Ok(()));
    assert!(!download.is_whole());
    assert_eq!(download.request().offset, 50);
    assert_eq!(download.begin(first(&bytes[50..])), Ok(()));
    assert!(download.is_whole());
    assert_eq!(download.finish(), Ok(bytes));
}

#[test]
fn another_archive_of_the_content_is_fetched_from_its_beginning() {
    let mut download = Download::new(CONTENT, 1_000);
    download.begin(first(&bytes()[..30])).unwrap();
    let other = vec![7; 100];
    let chunk = v1::Chunk { data: other[30..].to_vec(), archive: archive(&other) };
    assert_eq!(download.begin(chunk.clone()), Err(malformed(AnswerError::OtherArchive)));
    assert_eq!(download.request().offset, 0);
    let whole = v1::Chunk { data: other.clone(), ..chunk };
    assert_eq!(download.begin(whole), Ok(()));
    assert_eq!(download.finish(), Ok(other));
}

#[test]
fn an_archive_above_the_limit_is_refused_before_its_bytes_are_kept() {
    let mut download = Download::new(CONTENT, 99);
    let too_large = FetchError::TooLarge { content: CONTENT, bytes_max: 99 };
    assert_eq!(download.begin(first(&bytes()[..1])), Err(too_large));
    assert!(download.bytes.is_empty());
}

#[test]
fn bytes_that_were_not_announced_are_refused() {
    let bytes = bytes();
    let mut download = Download::new(CONTENT, 1_000);
    download.begin(first(&bytes)).unwrap();
    let one_more = download.next(further(&[1]));
    assert_eq!(one_more, Err(malformed(AnswerError::TooManyBytes { total: 100 })));

    let mut flipped = bytes;
    flipped[50] ^= 1;
    let mut download = Download::new(CONTENT, 1_000);
    download.begin(first(&flipped)).unwrap();
    assert_eq!(download.finish(), Err(malformed(AnswerError::OtherBytes)));
}

#[test]
fn chunks_of_another_shape_are_refused() {
    let mut download = Download::new(CONTENT, 1_000);
    let got = download.begin(further(&[1]));
    assert_eq!(got, Err(malformed(AnswerError::NoArchive)));
    download.begin(first(&[0])).unwrap();
    for chunk in [further(&[]), first(&[1])] {
        assert_eq!(download.next(chunk), Err(malformed(AnswerError::ChunkShape)));
    }
}

#[test]
fn only_what_may_pass_is_tried_again_and_not_for_ever() {
    let ask = |source| FetchError::Ask { content: CONTENT, source };
    let may = [
        ask(AskError::Unreachable { detail: String::new() }),
        ask(AskError::TimedOut { after_ms: 1 }),
        ask(AskError::Refused(ServeRefusal::Busy)),
        malformed(AnswerError::CutShort { got: 1, total: 2 }),
    ];
    let may_not = [
        FetchError::Unknown { content: CONTENT },
        FetchError::TooLarge { content: CONTENT, bytes_max: 1 },
        ask(AskError::Auth(AuthRefusal::NotAValidator)),
        ask(AskError::CertificateRefused(crate::CertificateRefusal::NotAValidator)),
        ask(AskError::Refused(ServeRefusal::BadMessage)),
        malformed(AnswerError::OtherBytes),
    ];
    assert!(may.iter().all(may_go_on));
    assert!(!may_not.iter().any(may_go_on));
    let pauses: Vec<_> = (1..).map_while(pause_after).collect();
    assert_eq!(pauses.len() + 1, CONTENT_TRIES_MAX as usize);
}
