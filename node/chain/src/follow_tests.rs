use super::*;

fn block(number: u64) -> BlockRef {
    fork(number, 1)
}

/// The block of this height on another branch.
fn fork(number: u64, branch: u8) -> BlockRef {
    BlockRef { number: BlockNumber(number), hash: BlockHash([branch; 32]) }
}

fn endpoint(index: usize, url: &str) -> Endpoint {
    Endpoint::new(index, url.to_owned())
}

fn a() -> Endpoint {
    endpoint(0, "ws://a")
}

fn heads() -> (Log, Heads) {
    let (sender, state) = watch::channel(FollowState::default());
    let task = tokio::spawn(std::future::pending());
    let heads = Heads { state, best: None, finalized: None, was_finalized: false, task };
    (Log { state: sender, highest: None }, heads)
}

async fn is_quiet(heads: &mut Heads) -> bool {
    tokio::time::timeout(Duration::from_secs(60), heads.next()).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_the_newest_heads_and_no_older_ones() {
    let (mut log, mut heads) = heads();
    for number in [1, 2, 3] {
        log.note(&a(), Head::Finalized(block(number)));
        log.note(&a(), Head::Best(block(number + 2)));
    }
    assert_eq!(heads.next().await, Some(Head::Finalized(block(3))));
    assert_eq!(heads.next().await, Some(Head::Best(block(5))));
    assert!(is_quiet(&mut heads).await);
    log.note(&a(), Head::Finalized(block(4)));
    assert_eq!(heads.next().await, Some(Head::Finalized(block(4))));
}

#[tokio::test(start_paused = true)]
async fn finalized_blocks_do_not_starve_best_ones() {
    let (mut log, mut heads) = heads();
    for number in [10, 20, 30] {
        log.note(&a(), Head::Finalized(block(number)));
        log.note(&a(), Head::Best(block(number + 5)));
        let both = [heads.next().await, heads.next().await];
        assert!(both.contains(&Some(Head::Best(block(number + 5)))), "{both:?}");
        assert!(both.contains(&Some(Head::Finalized(block(number)))), "{both:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reorganisation_takes_the_best_block_back_and_never_the_finalized_one() {
    let (mut log, mut heads) = heads();
    log.note(&a(), Head::Finalized(block(5)));
    log.note(&a(), Head::Best(block(9)));
    assert_eq!(heads.next().await, Some(Head::Finalized(block(5))));
    assert_eq!(heads.next().await, Some(Head::Best(block(9))));
    log.note(&a(), Head::Best(fork(9, 2)));
    assert_eq!(heads.next().await, Some(Head::Best(fork(9, 2))));
    log.note(&a(), Head::Best(fork(8, 3)));
    assert_eq!(heads.next().await, Some(Head::Best(fork(8, 3))));
    log.note(&a(), Head::Best(fork(4, 4)));
    log.note(&a(), Head::Finalized(fork(4, 4)));
    assert!(is_quiet(&mut heads).await);
    assert_eq!(heads.state().finalized, Some(block(5)));
}

#[tokio::test(start_paused = true)]
async fn a_lagging_endpoint_does_not_take_the_head_back() {
    let (mut log, mut heads) = heads();
    log.note(&a(), Head::Finalized(block(9)));
    assert_eq!(heads.next().await, Some(Head::Finalized(block(9))));
    assert!(!log.note(&endpoint(1, "ws://b"), Head::Finalized(block(5))));
    assert_eq!(heads.state().finalized, Some(block(9)));
    assert_eq!(heads.state().endpoint.as_deref(), Some("ws://b:80"));
    assert_eq!(heads.state().endpoint_index, Some(1));
    assert!(is_quiet(&mut heads).await, "an older head was reported");
}

const LIMIT: Duration = Duration::from_secs(10);

/// Watches a stream; `ask` answers with these two numbers.
async fn watched(
    news: impl Stream<Item = Result<Head, FollowError>>,
    (best, finalized): (u64, u64),
    poll_every: Option<Duration>,
) -> (FollowError, Duration, Heads) {
    let (mut log, heads) = heads();
    let started = Instant::now();
    let at = a();
    let watch = Watch { at: &at, silence_max: LIMIT, poll_every };
    let ask = || async move { Ok([Head::Best(block(best)), Head::Finalized(block(finalized))]) };
    let error = watch.heads(Box::pin(news), ask, &mut log, || {}).await;
    (error, started.elapsed(), heads)
}

/// A best block per second: up to the third new ones, then old ones for ever.
fn stuck() -> impl Stream<Item = Result<Head, FollowError>> {
    stream::unfold(1u64, |number| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok(Head::Best(block(if number <= 3 { number } else { 2 }))), number + 1))
    })
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_only_repeats_old_heads_is_silent() {
    let (error, took, heads) = watched(stuck(), (3, 1), None).await;
    assert!(matches!(error, FollowError::Silent { after_ms: 10_000, .. }), "{error}");
    assert_eq!(took, Duration::from_secs(13));
    assert_eq!(heads.state().finalized, Some(block(1)), "it was asked meanwhile");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_silent_while_the_chain_goes_on_is_found_out_by_asking() {
    let (error, took, heads) = watched(stuck(), (9, 8), None).await;
    assert!(matches!(error, FollowError::Deaf { .. }), "{error}");
    assert_eq!(took, Duration::from_secs(3 + 5), "half of the silence allowed");
    assert_eq!(heads.state().best, Some(block(9)));
}

#[tokio::test(start_paused = true)]
async fn a_node_without_subscriptions_is_asked_until_it_stands_still() {
    let every = Duration::from_secs(3);
    let (error, took, heads) = watched(stream::pending(), (9, 8), Some(every)).await;
    assert!(matches!(error, FollowError::Silent { .. }), "{error}");
    assert_eq!(took, every + LIMIT);
    assert_eq!((heads.state().best, heads.state().finalized), (Some(block(9)), Some(block(8))));
}

#[tokio::test(start_paused = true)]
async fn a_broken_stream_says_so() {
    let broken = || FollowError::Broken { endpoint: "ws://a".to_owned(), detail: "reset".into() };
    let news = stream::iter([Ok(Head::Best(block(1))), Err(broken())]);
    let (error, _, heads) = watched(news, (1, 1), None).await;
    assert!(matches!(error, FollowError::Broken { .. }), "{error}");
    assert_eq!(heads.state().best, Some(block(1)));
    let ended = stream::iter([Ok(Head::Best(block(2)))]);
    let (error, _, _) = watched(ended, (1, 1), None).await;
    assert!(matches!(error, FollowError::Closed { .. }), "{error}");
}
