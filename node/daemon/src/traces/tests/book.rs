//! Ids, parents, times and bounds.

use node_core::admission::{Rejection, Rule};
use node_core::id::Hotkey;
use node_core::lease::{
    HeldLease, HoldAnswer, LeaseAnswer, LeaseRefusal, PeerAnswer, PeerRequest, ReleaseReason,
};
use node_core::machine::effect::{Effect, Note};
use node_core::machine::event::{Event, Question, Restarted};
use node_core::outcome::Ending;
use node_core::rows::{Row, RunRow, RunState};
use node_core::submission::{Submission, SubmissionState};
use node_core::unit::UnixMs;
use opentelemetry::trace::Status;
use opentelemetry::{SpanId, Value};

use super::world::{
    admitted, answered, asks, at, attribute, evidence, grant, granted, named, run, scored, seen,
    submission, ALICE, BOB,
};
use crate::traces::book::{Book, Bounds};
use crate::traces::id;

fn book(own: Hotkey) -> Book {
    Book::new(own, Vec::new(), Bounds::default())
}

fn fetch(submission: &Submission) -> Effect {
    Effect::FetchContent {
        submission: submission.id,
        content: submission.content,
        location: submission.location.clone(),
        peers: Vec::new(),
    }
}

#[test]
fn validators_write_into_one_trace_and_nobody_tells_them_to() {
    let submission = submission(4);
    let mut spans = Vec::new();
    for own in [ALICE, BOB] {
        let mut book = book(own);
        book.heard(&seen(&submission), at(0));
        book.heard(&scored(submission.id), at(50));
        spans.extend(book.take_ended());
    }
    assert_eq!(spans.len(), 2);
    let [one, other] = [&spans[0], &spans[1]];
    assert_eq!(one.span_context.trace_id(), id::trace(&submission.id));
    assert_eq!(one.span_context.trace_id(), other.span_context.trace_id());
    assert_ne!(one.span_context.span_id(), other.span_context.span_id());
    assert_eq!((one.start_time, one.end_time), (at(0), at(50)));
    assert_eq!(one.parent_span_id, SpanId::INVALID);
    assert_eq!(attribute(one, "assay.outcome"), Some(Value::from("scored")));
    assert_eq!(attribute(one, "assay.points"), Some(Value::I64(250)));
    assert!(one.span_context.is_sampled());
}

#[test]
fn fetch_and_admission_stand_below_the_submission_and_a_failed_fetch_says_why() {
    let (mut book, submission) = (book(ALICE), submission(4));
    book.heard(&seen(&submission), at(0));
    book.performs(&fetch(&submission), at(1));
    let result = Err("no answer from http://me:word@host/key".to_owned());
    book.saw(&Event::ContentFetched { submission: submission.id, result }, at(2));
    let failed = book.take_ended();
    book.performs(&fetch(&submission), at(10));
    book.saw(&Event::ContentFetched { submission: submission.id, result: Ok(()) }, at(12));
    let content = submission.content;
    book.performs(&Effect::Admit { submission: submission.id, content }, at(12));
    book.saw(&admitted(submission.id), at(15));

    let spans = book.take_ended();
    let (fetch, admission) = (named(&spans, "fetch"), named(&spans, "admission"));
    for span in [fetch, admission, named(&failed, "fetch")] {
        assert_eq!(span.parent_span_id, id::of_submission(&submission.id, &ALICE));
        assert_eq!(span.span_context.trace_id(), id::trace(&submission.id));
    }
    assert_eq!((fetch.start_time, fetch.end_time), (at(10), at(12)));
    assert_eq!(fetch.status, Status::Unset);
    assert_eq!(attribute(admission, "assay.verdict"), Some(Value::from("admitted")));
    let why = Status::error("no answer from http://***@host/***");
    assert_eq!(named(&failed, "fetch").status, why);
    assert_ne!(named(&failed, "fetch").span_context.span_id(), fetch.span_context.span_id());
}

#[test]
fn an_admission_that_fails_after_its_verdict_says_so_where_earlier_works_are_read() {
    let (mut book, submission) = (book(ALICE), submission(4));
    let (id, content) = (submission.id, submission.content);
    let recall = Effect::RecallSketches { submission: id, content, of: Vec::new() };
    book.heard(&seen(&submission), at(0));
    book.performs(&Effect::Admit { submission: id, content }, at(1));
    book.saw(&admitted(id), at(2));
    book.performs(&recall, at(2));
    let reason = "this node cannot read what it is compared with".to_owned();
    book.saw(&Event::AdmissionFailed { submission: id, reason: reason.clone() }, at(3));
    let failed = book.take_ended();
    assert_eq!(named(&failed, "admission").status, Status::Unset, "the archive is sound");
    let span = named(&failed, "recall");
    assert_eq!((span.start_time, span.end_time), (at(2), at(3)));
    assert_eq!(span.status, Status::error(reason));
    assert_eq!(span.parent_span_id, id::of_submission(&id, &ALICE));
    // The next time, in two rounds.
    book.performs(&Effect::Admit { submission: id, content }, at(10));
    book.saw(&admitted(id), at(11));
    for second in [11, 12] {
        book.performs(&recall, at(second));
        book.saw(&Event::SketchesRecalled { content, found: Vec::new() }, at(second + 1));
    }
    book.saw(&Event::SketchesRecalled { content, found: Vec::new() }, at(14));
    let spans = book.take_ended();
    let recalls: Vec<_> = spans.iter().filter(|span| span.name == "recall").collect();
    assert_eq!(recalls.len(), 2, "{spans:#?}");
    assert!(recalls.iter().all(|span| span.status == Status::Unset));
}

#[test]
fn a_lease_stands_below_the_submission_of_whoever_granted_it() {
    let submission = submission(4);
    for (coordinator, is_remote) in [(ALICE, true), (BOB, false)] {
        let mut book = book(BOB);
        let grant = grant(&submission, coordinator);
        let run = run(&mut book, BOB, &grant, Ending::Completed);
        let evidence = evidence(BOB, &grant);
        book.performs(&Effect::SignSeal { run, evidence: evidence.clone() }, at(31));
        let kept = PeerAnswer::Sealed(HoldAnswer::Kept);
        book.saw(&answered(coordinator, Question::Seal(run), kept), at(33));
        book.performs(&Effect::SignReceipt { run, evidence }, at(40));
        let accepted = PeerAnswer::Completed(LeaseAnswer::Accepted);
        book.saw(&answered(coordinator, Question::Complete(run), accepted), at(41));

        let spans = book.take_ended();
        let lease = named(&spans, "lease");
        assert_eq!(lease.parent_span_id, id::of_submission(&submission.id, &coordinator));
        assert_eq!(lease.parent_span_is_remote, is_remote);
        assert_eq!((lease.start_time, lease.end_time), (at(20), at(41)));
        assert_eq!(attribute(lease, "assay.outcome"), Some(Value::from("completed")));
        for (name, from, to) in [("run", 22, 30), ("seal", 31, 33), ("show", 40, 41)] {
            let span = named(&spans, name);
            assert_eq!(span.parent_span_id, lease.span_context.span_id(), "{name}");
            assert_eq!((span.start_time, span.end_time), (at(from), at(to)), "{name}");
        }
        let run = named(&spans, "run");
        for (key, value) in [("tier", 1), ("unit", 0), ("attempt", 3)] {
            assert_eq!(attribute(run, &format!("assay.{key}")), Some(Value::I64(value)), "{key}");
        }
        assert_eq!(attribute(run, "assay.device"), Some(Value::from("cpu-0")));
        assert_eq!(attribute(run, "assay.ending"), Some(Value::from("completed")));
        let Some(Value::I64(points)) = attribute(run, "assay.points") else { panic!("{run:#?}") };
        assert!(points > 0);
    }
}

#[test]
fn what_a_run_found_is_not_told_before_its_result_is_shown() {
    let (mut book, grant) = (book(BOB), grant(&submission(4), ALICE));
    let run = run(&mut book, BOB, &grant, Ending::Completed);
    book.performs(&Effect::SignSeal { run, evidence: evidence(BOB, &grant) }, at(31));
    assert!(book.take_ended().is_empty(), "a sealed result is nobody's business");
    // It may be handed in again elsewhere: it stays secret.
    book.heard(&Note::RunAbandoned { run, reason: "a newer attempt exists".to_owned() }, at(35));
    let spans = book.take_ended();
    for key in ["assay.points", "assay.ending"] {
        assert!(spans.iter().all(|span| attribute(span, key).is_none()), "{spans:#?}");
    }
    assert_eq!(attribute(named(&spans, "lease"), "assay.outcome"), Some(Value::from("abandoned")));
}

#[test]
fn a_lease_that_is_given_back_says_how_its_run_ended_and_whose_fault_that_is() {
    let (mut book, grant) = (book(BOB), grant(&submission(4), ALICE));
    let ending = Ending::EngineFailed { detail: "what the engine said".to_owned() };
    let run = run(&mut book, BOB, &grant, ending.clone());
    let item =
        HeldLease { assignment: grant.assignment.id, lease: grant.lease, attempt: grant.attempt };
    let reason = ReleaseReason::RunEnded { ending };
    book.performs(&asks(Question::Release(run), PeerRequest::Release { item, reason }), at(31));
    let released = PeerAnswer::Released(LeaseAnswer::Accepted);
    book.saw(&answered(ALICE, Question::Release(run), released), at(32));
    let spans = book.take_ended();
    let run = named(&spans, "run");
    assert_eq!(attribute(run, "assay.ending"), Some(Value::from("engine_failed")));
    assert_eq!(run.status, Status::error("engine_failed"));
    let lease = named(&spans, "lease");
    assert_eq!(attribute(lease, "assay.outcome"), Some(Value::from("released")));
    assert_eq!(lease.events[0].name, "giving_back");
}

#[test]
fn a_grant_that_is_declined_or_in_anothers_name_is_no_lease() {
    let (mut book, grant) = (book(BOB), grant(&submission(4), ALICE));
    let run = grant.run_of(&BOB);
    book.saw(&granted(BOB, &grant), at(20));
    book.performs(&Effect::SignSeal { run, evidence: evidence(BOB, &grant) }, at(21));
    book.saw(&granted(ALICE, &grant), at(22));
    let item =
        HeldLease { assignment: grant.assignment.id, lease: grant.lease, attempt: grant.attempt };
    let declined = PeerRequest::Release { item, reason: ReleaseReason::Declined };
    book.performs(&asks(Question::Release(run), declined), at(23));
    let released = PeerAnswer::Released(LeaseAnswer::Accepted);
    book.saw(&answered(ALICE, Question::Release(run), released), at(24));
    assert!(book.take_ended().is_empty());
}

#[test]
fn what_happens_to_leases_is_told_as_events_and_not_without_end() {
    let (mut book, submission) = (book(ALICE), submission(4));
    book.heard(&seen(&submission), at(0));
    let refused = Note::LeaseRefused {
        peer: BOB,
        call: "renew",
        submission: Some(submission.id),
        reason: "another validator holds the lease".to_owned(),
    };
    for _ in 0..200 {
        book.heard(&refused, at(5));
    }
    book.heard(&Note::SubmissionDisputed { submission: submission.id }, at(6));
    let spans = book.take_ended();
    let events = &named(&spans, "submission").events;
    assert_eq!((events.len(), events.dropped_count), (128, 72));
    assert_eq!(events[0].name, "lease_refused");
    let peer = events[0].attributes.iter().find(|fact| fact.key.as_str() == "assay.peer").unwrap();
    assert_eq!(peer.value, Value::from(BOB.to_string()));
}

#[test]
fn a_lease_that_is_not_kept_says_so() {
    let (mut book, grant) = (book(BOB), grant(&submission(4), ALICE));
    let run = run(&mut book, BOB, &grant, Ending::LeaseLost);
    let refused = HoldAnswer::Refused(LeaseRefusal::StaleAttempt);
    book.saw(&Event::RenewalEnded { peer: ALICE, result: Ok(vec![(run, refused)]) }, at(29));
    book.heard(&Note::RunAbandoned { run, reason: "gone".to_owned() }, at(35));
    let spans = book.take_ended();
    assert_eq!(named(&spans, "lease").events[0].name, "renewal_refused");
}

#[test]
fn the_oldest_open_span_goes_for_the_newest_and_is_counted() {
    let mut book = Book::new(ALICE, Vec::new(), Bounds { submissions_max: 2, leases_max: 1 });
    let [first, second, third] = [submission(1), submission(2), submission(3)];
    book.heard(&seen(&first), at(0));
    book.performs(&fetch(&first), at(0));
    book.heard(&seen(&second), at(1));
    assert_eq!(book.take_displaced(), 0);
    book.heard(&seen(&third), at(2));
    assert_eq!(book.take_displaced(), 2, "the submission and its fetch");
    for submission in [&first, &second, &third] {
        book.heard(&scored(submission.id), at(3));
    }
    assert_eq!(book.take_ended().len(), 2);
    run(&mut book, ALICE, &grant(&first, BOB), Ending::Completed);
    run(&mut book, ALICE, &grant(&second, BOB), Ending::Completed);
    assert_eq!(book.take_displaced(), 2, "the lease and its run");
}

#[test]
fn after_a_restart_spans_begin_anew_under_the_same_ids_and_say_so() {
    let [open, mut settled] = [submission(1), submission(2)];
    settled.state = SubmissionState::Disputed;
    let grant = grant(&open, BOB);
    let run = grant.run_of(&ALICE);
    let (devices, started_at) = (Vec::new(), UnixMs(1));
    let state = RunState::Started;
    let row = RunRow { run, grant, devices, state, started_at };
    let rows = vec![
        Row::Submission(open.clone()),
        Row::Submission(settled.clone()),
        Row::Run(Box::new(row)),
    ];
    let mut book = book(ALICE);
    book.saw(&Event::Restarted(Box::new(Restarted { rows, ..Restarted::default() })), at(0));
    book.heard(&Note::RunAbandoned { run, reason: "gone".to_owned() }, at(5));
    for submission in [&open, &settled] {
        book.heard(&scored(submission.id), at(6));
    }
    let spans = book.take_ended();
    let (lease, whole) = (named(&spans, "lease"), named(&spans, "submission"));
    assert_eq!(whole.span_context.span_id(), id::of_submission(&open.id, &ALICE));
    assert_eq!(lease.span_context.span_id(), id::of_run(&run, "lease"));
    for span in [lease, whole] {
        assert_eq!(attribute(span, "assay.resumed"), Some(Value::from(true)));
        assert_eq!(span.start_time, at(0));
    }
}

#[test]
fn references_are_traced_from_the_start_until_they_are_settled() {
    let [new, known] = [submission(1), submission(2)];
    let references = vec![(new.id, "small".to_owned()), (known.id, "large".to_owned())];
    let mut settled = known.clone();
    settled.state = SubmissionState::Scored { points: 5 };
    let rows = vec![Row::Submission(settled)];
    let mut book = Book::new(ALICE, references, Bounds::default());
    book.saw(&Event::Restarted(Box::new(Restarted { rows, ..Restarted::default() })), at(0));
    for submission in [&new, &known] {
        book.heard(&scored(submission.id), at(6));
    }
    let spans = book.take_ended();
    let whole = named(&spans, "submission");
    assert_eq!(attribute(whole, "assay.reference"), Some(Value::from("small")));
    assert_eq!(attribute(whole, "assay.resumed"), Some(Value::from(true)));
}

#[test]
fn what_nobody_began_has_no_end() {
    let mut book = book(ALICE);
    let run = grant(&submission(1), BOB).run_of(&ALICE);
    let rejection = Rejection::new(Rule::ALL[0], "of no interest");
    let events = [
        Event::ContentUnreadable { submission: submission(1).id, rejection },
        admitted(submission(1).id),
        Event::RunStarted { run },
        super::world::ended(run, Ending::Completed),
    ];
    for event in &events {
        book.saw(event, at(1));
    }
    book.heard(&scored(submission(1).id), at(2));
    book.heard(&Note::RunAbandoned { run, reason: "gone".to_owned() }, at(3));
    assert!(book.take_ended().is_empty());
}

#[test]
fn a_clock_that_was_set_back_gives_no_span_a_negative_length() {
    let (mut book, submission) = (book(ALICE), submission(1));
    book.heard(&seen(&submission), at(10));
    book.heard(&scored(submission.id), at(4));
    let spans = book.take_ended();
    assert_eq!((spans[0].start_time, spans[0].end_time), (at(10), at(10)));
}

#[test]
fn what_others_wrote_is_cut_short() {
    let (mut book, submission) = (book(ALICE), submission(1));
    book.heard(&seen(&submission), at(0));
    let reason = "x".repeat(5_000);
    book.heard(&Note::SubmissionRejected { submission: submission.id, reason }, at(1));
    let spans = book.take_ended();
    assert_eq!(attribute(&spans[0], "assay.reason"), Some(Value::from("x".repeat(200))));
}
