//! How fast this machine signs and checks sr25519 signatures, one by one and 64 at once, on one
//! thread, by its CPU time. `scripts/benchmark-leases` sets it beside the leases.

#![allow(clippy::print_stdout, reason = "a program whose result is what it prints")]

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use schnorrkel::{signing_context, verify_batch, Keypair, MiniSecretKey, PublicKey, Signature};

type Failed = Box<dyn Error>;

/// As many as one call may carry.
const BATCH: usize = node_peer::limits::BATCH_ITEMS_MAX;

/// How long each is measured.
const FOR: Duration = Duration::from_secs(2);

fn key(number: u8) -> Result<Keypair, schnorrkel::SignatureError> {
    let mini = MiniSecretKey::from_bytes(&[number; 32])?;
    Ok(mini.expand_to_keypair(schnorrkel::ExpansionMode::Ed25519))
}

/// What this thread has used of a CPU, in seconds; other work on the machine is not in it.
fn cpu_seconds() -> Result<f64, Failed> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = text.split_whitespace().next().ok_or("schedstat is empty")?;
    Ok(nanos.parse::<f64>()? / 1e9)
}

/// Repeats `work`, which does `items` at once, and prints what one of them takes.
fn measure(what: &str, items: usize, mut work: impl FnMut()) -> Result<(), Failed> {
    let (started, before) = (Instant::now(), cpu_seconds()?);
    let mut rounds = 0_u32;
    while started.elapsed() < FOR {
        work();
        rounds += 1;
    }
    let seconds = (cpu_seconds()? - before) / f64::from(rounds) / items as f64;
    println!("{what} | {:.0} | {:.1}", 1.0 / seconds, seconds * 1e6);
    Ok(())
}

fn main() -> Result<(), Failed> {
    // What is signed has this length for a call, a seal and a receipt alike.
    let messages: Vec<[u8; 49]> = (0..=u8::MAX).take(BATCH).map(|n| [n; 49]).collect();
    let context = signing_context(b"substrate");
    let one = key(0).map_err(|error| error.to_string())?;
    let sign = |key: &Keypair, message: &[u8]| key.sign(context.bytes(message));
    let signatures: Vec<Signature> = messages.iter().map(|m| sign(&one, m)).collect();
    let transcripts = || messages.iter().map(|message| context.bytes(message));
    let keys: Vec<PublicKey> = vec![one.public; BATCH];

    println!("one thread | per second of CPU time | us of CPU time each");
    measure("sign", 1, || {
        black_box(sign(&one, black_box(&messages[0])));
    })?;
    let parts = (one.public.to_bytes(), signatures[0].to_bytes());
    measure("check, from bytes", 1, || {
        let key = PublicKey::from_bytes(black_box(&parts.0));
        let signature = Signature::from_bytes(black_box(&parts.1));
        let (Ok(key), Ok(signature)) = (key, signature) else { return };
        assert!(key.verify(context.bytes(&messages[0]), &signature).is_ok());
    })?;
    for size in [4, 16, BATCH] {
        measure(&format!("check {size} of one signer at once"), size, || {
            let all =
                verify_batch(transcripts().take(size), &signatures[..size], &keys[..size], true);
            assert!(all.is_ok());
        })?;
    }
    let others: Vec<Keypair> =
        (0..=u8::MAX).take(BATCH).map(key).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    let theirs: Vec<Signature> =
        others.iter().zip(&messages).map(|(key, message)| sign(key, message)).collect();
    let keys: Vec<PublicKey> = others.iter().map(|key| key.public).collect();
    measure(&format!("check {BATCH} of as many signers at once"), BATCH, || {
        assert!(verify_batch(transcripts(), &theirs, &keys, false).is_ok());
    })?;
    Ok(())
}
