//! Every bound of the node, with what breaks on either side.

/// Longest commitment read as ours. Lower: URLs do not fit beside the digest. Higher: the chain
/// refuses raw fields above 128 bytes, so a miner could never write it.
pub const COMMITMENT_BYTES_MAX: usize = 128;

/// A SHA-256 in base64url without padding.
pub const CONTENT_DIGEST_BASE64_LEN: usize = 43;
const _: () = assert!(CONTENT_DIGEST_BASE64_LEN + "nas:1::".len() < COMMITMENT_BYTES_MAX);

/// How long a lease holds without renewal. Lower: a slow network costs runs. Higher: a dead
/// worker's assignment waits that long before another may run it.
pub const LEASE_TTL_MS: u64 = 60_000;

/// How often a holder renews. Two renewals may be lost before the holder has to stop.
pub const LEASE_RENEW_EVERY_MS: u64 = LEASE_TTL_MS / 3;

/// When a holder that could not renew stops its run: before the coordinator gives the lease away,
/// even if their clocks run at slightly different speeds.
pub const LEASE_STOP_AFTER_MS: u64 = LEASE_TTL_MS / 10 * 8;
const _: () = assert!(LEASE_RENEW_EVERY_MS * 2 < LEASE_STOP_AFTER_MS);
const _: () = assert!(LEASE_STOP_AFTER_MS < LEASE_TTL_MS);

/// How long a renewal that was not answered waits for the next try. Lower: one that is refused at
/// once is sent all the time. Higher: fewer tries before the run has to stop.
pub const RENEW_AGAIN_MS: u64 = 1_000;
const _: () = assert!(RENEW_AGAIN_MS < LEASE_STOP_AFTER_MS - 2 * LEASE_RENEW_EVERY_MS);

/// Leases renewed in one call: far more than devices in a host, and few enough that the seals of
/// all their replicas fit the answer.
pub const RENEWALS_PER_CALL_MAX: usize = 256;

/// Leases that a node holds at once, those of results that wait for others included. Lower: a node
/// whose results wait takes no more work. Higher: each look at them takes longer.
pub const LEASES_HELD_MAX: usize = 4_096;

/// Longest time from a grant to its end, renewed or not, that any policy has; each tier has its
/// own: [`crate::policy::RunLimits::lease_total_ms`]. Lower: long evaluations never finish. Higher:
/// a worker that renews for ever and never completes may hold an assignment for longer.
pub const LEASE_TOTAL_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// Time in which peers may take an assignment before its own coordinator does. Lower: the
/// coordinator evaluates most of what it coordinates. Higher: a node without peers' help idles.
pub const SELF_GRANT_AFTER_MS: u64 = 15_000;
const _: () = assert!(SELF_GRANT_AFTER_MS < LEASE_TTL_MS);

/// How often a worker with a free device asks coordinators for work. Lower: idle nodes make
/// traffic. Higher: a free device waits that long for work that is there.
pub const ACQUIRE_EVERY_MS: u64 = 2_000;

/// How often receipts are fetched from each peer. Lower: idle traffic. Higher: validators
/// compute weights from older receipts.
pub const RECEIPTS_EVERY_MS: u64 = 3_000;

/// How long a request to a peer may take. Must end before the next renewal is due.
pub const PEER_CALL_MS_MAX: u64 = 10_000;
const _: () = assert!(PEER_CALL_MS_MAX < LEASE_RENEW_EVERY_MS);

/// How long a granted run may stay without having started, renewed or not. Lower: a host that
/// pulls an image loses its leases. Higher: one that never starts holds an assignment for longer.
pub const LEASE_START_MS_MAX: u64 = 10 * 60 * 1000;
const _: () = assert!(LEASE_TTL_MS < LEASE_START_MS_MAX && LEASE_START_MS_MAX < LEASE_TOTAL_MS_MAX);

/// When a holder gives up a run that has not started: before the coordinator gives the lease away.
pub const LEASE_START_STOP_MS: u64 = LEASE_START_MS_MAX - LEASE_TTL_MS;
const _: () = assert!(LEASE_TTL_MS < LEASE_START_STOP_MS);

/// How long a worker whose coordinator asks for its result waits for as many seals as it would ask
/// for itself. Lower: a colluding coordinator is shown results before others have sealed. Higher:
/// where the two see different validators, results wait that long.
pub const REVEAL_WAIT_MS: u64 = 5 * LEASE_TTL_MS;

/// How often a worker with a sealed result asks whether it may be shown.
pub const SEALED_POLL_MS: u64 = 2_000;
const _: () = assert!(SEALED_POLL_MS < LEASE_RENEW_EVERY_MS);

/// Attempts at an assignment whose workers went away. Lower: a bad hour of the network ends it.
/// Higher: one that no worker survives costs more of them.
pub const WORKERS_LOST_MAX: u32 = 5;

/// Attempts at an assignment on machines that failed.
pub const FAULTS_MAX: u32 = 5;

/// Attempts at an assignment that were never started.
pub const NOT_STARTED_MAX: u32 = 10;

/// Replicas of one evaluation, those that settle a disagreement included. Lower: one liar among
/// few leaves it undecided. Higher: a submission that measures differently each time costs more.
pub const REPLICAS_MAX: usize = 5;

/// Earlier coordinators that a receipt names. Lower: who was shown a result and takes no receipt
/// for it is forgotten sooner. Higher: receipts grow by 64 bytes each.
pub const SHOWN_BEFORE_MAX: usize = 8;

/// Numbers that replicas of one evaluation can have: those that count, and those whose worker lost
/// its right to take part.
pub const REPLICA_NUMBERS_MAX: u8 = 16;
const _: () = assert!(REPLICAS_MAX < REPLICA_NUMBERS_MAX as usize);

/// How long nothing of a validator must have been heard until others take its place. Lower: a slow
/// network moves coordinators to and fro. Higher: a dead one's share waits that long.
pub const GONE_AFTER_MS: u64 = 45_000;
const _: () = assert!(PEER_CALL_MS_MAX * 2 < GONE_AFTER_MS && GONE_AFTER_MS < LEASE_TTL_MS);

/// Questions in a row that a validator must have left unanswered, too.
pub const GONE_FAILURES_MIN: u32 = 2;

/// How long a block takes on the chains that this is for. Used where time that runs take has to be
/// told in blocks: on a chain with faster blocks the bounds below hold, and no others.
pub const BLOCK_TARGET_MS: u64 = 12_000;

/// Blocks for which an evaluation may stand unsettled, per place in the ranking, before the next
/// validator coordinates it as well; at least twice as long as a lease of its tier lives. Lower:
/// slow work is done twice. Higher: a coordinator that keeps work for itself holds it up for
/// longer.
pub const STUCK_BLOCKS: u64 = 1_200;

/// Blocks after which a node evaluates for itself what only its own result is missing for: others
/// may have decided without it, and ask it for nothing. Lower: what somebody is about to offer it,
/// or to publish, is handed in twice. Higher: a node that was away is without a result for longer.
pub const FOR_ITSELF_AFTER_BLOCKS: u64 = 25;
const _: () = assert!(FOR_ITSELF_AFTER_BLOCKS < STUCK_BLOCKS);

/// Blocks by which an endpoint may be behind what was read of the chain before. A node that lost
/// its rows grants nothing until it read more than so many. Lower: it may give attempts again where
/// an endpoint is further behind. Higher: after lost rows it is without work for longer.
pub const ENDPOINT_LAG_BLOCKS_MAX: u64 = 30;

/// Blocks for which a validator may bring no result while there is work, until it is not waited for
/// any more: it may have no device. At least as long as the longest lease of the policy lives.
/// Lower: one with slow runs is left out at first. Higher: beside one without a device the first
/// results wait for longer.
pub const UNABLE_AFTER_BLOCKS: u64 = STUCK_BLOCKS / 4;

/// Results that came too late, kept per submission as they came. Never scored.
pub const LATE_RECEIPTS_MAX: usize = 8;

/// Receipts of one submission that are kept, whoever made them.
pub const RECEIPTS_PER_SUBMISSION_MAX: usize = 64;
const _: () = assert!(REPLICAS_MAX < RECEIPTS_PER_SUBMISSION_MAX);

/// Strikes with which a validator is granted nothing more here.
pub const STRIKES_MAX: usize = 3;

/// Times that a person opened an assignment again which are remembered. Lower: what was tried
/// before is forgotten. Higher: the row grows with every try.
pub const REOPENINGS_KEPT: usize = 8;

/// Blocks for which a strike counts: a week of 12-second blocks.
pub const STRIKES_KEPT_BLOCKS: u64 = 50_400;

/// Blocks for which receipts and leases of a submission are kept after its commitment left the
/// chain's view: a day.
pub const RETENTION_BLOCKS: u64 = 7_200;

/// Blocks between two looks for submissions that nothing rests on any more. Lower: each block costs
/// more where many places are held. Higher: memory is given back later.
pub const FORGET_EVERY_BLOCKS: u64 = 25;

/// Rows of one record of the freezer. Higher: a line of a copy takes more memory to be read, and
/// may be longer than a line can be.
pub const FROZEN_ROWS_MAX: usize = 256;

/// Windows that are closed for good at one block; the others follow at the next. Lower: a node that
/// was away takes longer. Higher: so does the block.
pub const WINDOWS_PER_BLOCK_MAX: usize = 8;

/// Rows that go to the freezer at one block, but for those of the last submission; the others
/// follow at the next. Lower: a subnet that changes as a whole takes more blocks. Higher: so does
/// the commit of that block.
pub const FROZEN_PER_BLOCK_MAX: usize = 4_096;

/// Contents whose samples of sketches are asked for at once, for one that is being judged; the
/// others follow when these are here. Lower: one that is near many works waits for more answers,
/// before each of which all works are looked through. Higher: one arrival has more of them in
/// memory, at up to 4 KiB each.
pub const RECALL_MAX: usize = 256;

/// How long a submission whose bytes could not be fetched waits for the second try; twice as long
/// before each further one.
pub const FETCH_RETRY_MS: u64 = 5_000;

/// Longest such wait. Lower: a vanished miner's address is asked for ever. Higher: one that comes
/// back is noticed late.
pub const FETCH_RETRY_MS_MAX: u64 = 10 * 60 * 1000;
const _: () = assert!(FETCH_RETRY_MS < FETCH_RETRY_MS_MAX);

/// How long a node asks for no work after a run that found this host lacking what every run needs.
/// Lower: more leases are lost here. Higher: a host that was mended works again later.
pub const LACK_RETRY_MS: u64 = 5 * 60 * 1000;

/// How long a submission that a language model gave no opinion of waits until it is asked again;
/// twice as long before each further time.
pub const REVIEW_RETRY_MS: u64 = 10_000;

/// Longest such wait. Lower: a model that is away for days is asked for ever. Higher: one that
/// comes back is noticed late.
pub const REVIEW_RETRY_MS_MAX: u64 = 30 * 60 * 1000;
const _: () = assert!(REVIEW_RETRY_MS < REVIEW_RETRY_MS_MAX);

/// Longest wait that a model's endpoint may ask for itself.
pub const REVIEW_PAUSE_ASKED_MS_MAX: u64 = 24 * 3600 * 1000;

/// Leases granted in one answer. Lower: a large host needs many calls. Higher: one worker takes
/// everything that is open.
pub const LEASES_PER_ACQUIRE_MAX: usize = 4;

/// Open assignments that are looked at for one request for work. Lower: a worker that may not take
/// the first ones gets nothing at once. Higher: a request costs more.
pub const OPEN_LOOKED_AT_MAX: usize = 256;

/// Receipts in one answer of a stream. Bounds the memory a peer can make us use.
pub const RECEIPTS_PER_PAGE_MAX: usize = 256;

/// Bytes of one message between peers. Lower: a receipt with a full loss curve does not fit.
/// Higher: a hostile peer makes us hold that much per call.
pub const PEER_MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Points of a loss curve in a receipt.
pub const LOSS_CURVE_POINTS_MAX: usize = 256;
const _: () = assert!(LOSS_CURVE_POINTS_MAX * 16 < PEER_MESSAGE_BYTES_MAX);

/// Probe tasks that a result has figures of. Lower: the challenge's list cannot grow.
pub const PROBE_TASKS_MAX: usize = 32;

/// Characters of an explanation that travels in evidence (an exception's text, for example).
pub const DETAIL_CHARS_MAX: usize = 400;

/// Requests that wait for devices. Lower: work is refused though it could wait. Higher: more memory
/// (some 300 bytes each), and what waits longest waits for days.
pub const REQUESTS_WAITING_MAX: usize = 131_072;

/// Devices of one run. Lower: large models do not fit. Higher: more than a host has; a run never
/// spans hosts.
pub const GANG_DEVICES_MAX: u8 = 8;

/// Devices of one kind and size in one host. Lower: large hosts do not fit. Higher: a set of them
/// is no longer one machine word of 128 bits.
pub const POOL_DEVICES_MAX: usize = 128;
const _: () = assert!(GANG_DEVICES_MAX as usize <= POOL_DEVICES_MAX);

/// Hosts that one planner knows. Lower: large fleets do not fit. Higher: each look at a set of
/// hosts, one bit each, takes longer.
pub const HOSTS_MAX: usize = 16_384;

/// Sizes of devices, each a kind with its memory. Lower: mixed fleets do not fit. Higher: a request
/// that any of them suffices for is looked for in each.
pub const DEVICE_CLASSES_MAX: usize = 32;

/// Images, and as many contents, that are known to be somewhere. Lower: what a host has is
/// forgotten. Higher: a set of hosts is kept for each.
pub const CACHED_ITEMS_MAX: usize = 4_096;

/// Different needs (kind, memory, count, image) among what waits. Lower: a challenge with many
/// images is refused. Higher: each is looked at when a device becomes free.
pub const SHAPES_MAX: usize = 256;

/// Challenges that share devices. Lower: one is refused. Higher: each is looked at when a device
/// becomes free.
pub const SHARES_MAX: usize = 64;

/// Hosts kept for waiting runs at once, one per challenge at most. Lower: the first gang of a
/// challenge may be overtaken for as long as others are served. Higher: more devices idle while
/// their hosts empty.
pub const RESERVATIONS_MAX: usize = 8;

/// Hosts that fit equally well of which the one with the nearest devices is looked for. Lower: a
/// gang's devices are farther apart than need be. Higher: each choice takes longer.
pub const HOSTS_RANKED_MAX: usize = 8;

/// Requests with nearly the same time limit among which the first that ends in time is looked for,
/// when devices are kept for another. Lower: one that just fits is passed over. Higher: each look
/// at a kept host takes longer.
pub const BACKFILL_LOOKED_AT_MAX: usize = 64;

/// The highest priority of a request; 0 is the lowest.
pub const PRIORITY_MAX: u8 = 10;

/// The head start of a request over one of the next lower priority. Lower: priorities mean nothing.
/// Higher: a low one waits longer, at most `PRIORITY_MAX` times this behind whatever comes later.
pub const PRIORITY_STEP_MS: u64 = 30 * 60 * 1000;

/// Longest time limit of a run that is placed: its lease ends by then. Lower: long evaluations are
/// refused. Higher: a gang may wait that much longer for its host.
pub const RUN_LIMIT_MS_MAX: u64 = LEASE_TOTAL_MS_MAX;

/// Events waiting for the machine. Lower: adapters wait on bursts. Higher: what the machine
/// decides is older than the world it decides for.
pub const EVENTS_QUEUED_MAX: usize = 1024;

/// Blocks before the epoch's end from which on the vector is sent: long enough that an outage of
/// minutes costs no epoch, late enough that most of the epoch's receipts count.
pub const WEIGHTS_LEAD_BLOCKS: u64 = 100;

/// Blocks after the best one for which a signed extrinsic stays valid at least. Lower: a retry
/// needs a new signature. Higher: a stuck one, which can neither be replaced nor outbid, keeps the
/// next from being signed for longer.
pub const ERA_LIFE_BLOCKS: u64 = 12;

/// Blocks that a reorganisation of the best chain is expected to take back at most. Lower: a
/// vector may land in the epoch before its own. Higher: an epoch's first blocks go unused.
pub const REORGANISED_BLOCKS_MAX: u64 = 6;

/// Shortest era, counted from the finalized block.
pub const ERA_BLOCKS_MIN: u64 = 16;

/// Longest era. The chain forgets block hashes after 2400 blocks.
pub const ERA_BLOCKS_MAX: u64 = 2048;
const _: () = assert!(ERA_LIFE_BLOCKS <= ERA_BLOCKS_MIN && ERA_BLOCKS_MIN < ERA_BLOCKS_MAX);
const _: () = assert!(ERA_BLOCKS_MIN.is_power_of_two() && ERA_BLOCKS_MAX.is_power_of_two());

/// Blocks for which an extrinsic without a plan of its own (an address, a commitment) is valid.
pub const EXTRINSIC_ERA_BLOCKS: u64 = ERA_BLOCKS_MIN;

/// Blocks for which a node that meets a used hotkey without its journal signs nothing: whatever
/// was signed elsewhere is dead by then.
pub const SETTLING_BLOCKS: u64 = 64;

/// Most uids a subnet can have.
pub const UIDS_MAX: usize = 4096;

/// Failures of a device in a day after which only a person gives it back. Lower: one bad evening
/// takes a device away. Higher: a device that fails again and again keeps spoiling runs.
pub const FAILURES_IN_A_DAY_MAX: usize = 3;

/// How long a device that is gone is remembered, unless an operator's order or a failed standing
/// keeps it: MIG slices are new devices each time a GPU is cut. Lower: a GPU that is away for
/// repair comes back as one that nobody knows. Higher: the list of what is gone grows.
pub const GONE_DEVICE_KEPT_MS: u64 = 30 * 24 * 60 * 60 * 1000;

/// How long a device rests after its first failure of a day; after the second twice as long.
/// Lower: heat and driver have no time to recover. Higher: a passing fault costs more work.
pub const COOL_DOWN_MS: u64 = 5 * 60 * 1000;

/// How long a driver may take to give back what an ended run held. Lower: a slow driver costs the
/// device a cool-down. Higher: memory that is really held is noticed that much later.
pub const MEMORY_FREE_WAIT_MS: u64 = 10_000;

/// How long a reading after a run is waited for before it is asked for again. Lower: a slow device
/// is asked again and again. Higher: the next run begins that much later.
pub const READ_AGAIN_MS: u64 = 1_000;
const _: () = assert!(READ_AGAIN_MS * 4 < MEMORY_FREE_WAIT_MS);

/// Memory by which an idle device's use varies, MiB. Lower: drivers' own needs count as held.
/// Higher: a small leftover is not noticed; a process with a context holds more than this.
pub const MEMORY_SLACK_MIB: u64 = 128;

/// Most memory that an idle device may use for itself, MiB: more of it is held by somebody, also
/// when nothing is known of the device. Lower: a host whose GPU draws a screen cannot use it.
/// Higher: what a run of an earlier life holds, of which nothing is known, is taken for the
/// device's own need.
pub const IDLE_MEMORY_MIB_MAX: u64 = 2_048;

/// How long a device that should be read goes without a reading. Lower: a slow driver costs the
/// device. Higher: a hanging one is noticed that much later.
pub const SAMPLE_LATE_MS: u64 = 30_000;

/// How often an idle device is probed. Lower: probes cost work. Higher: a device that computes
/// wrongly spoils more runs.
pub const PROBE_EVERY_MS: u64 = 10 * 60 * 1000;

/// Probes in a row that could not be started before that is critical. Lower: a moment without
/// memory rings somebody's bell. Higher: a host that cannot probe at all stands idle unnoticed.
pub const PROBES_NOT_STARTED_MAX: u32 = 3;

/// How long a probe that was asked for is waited for before it is asked for again. Longer than any
/// probe lives.
pub const PROBE_AGAIN_MS: u64 = 2 * 60 * 1000;

/// How fast a probe has to be, of the best that this device reached, percent. Lower: a device at
/// half its speed hits submissions' time limits. Higher: devices vary by a few percent.
pub const SLOWER_PERCENT: u64 = 80;

/// Readings in a row that may show clocks held back. Lower: one hot moment costs the device.
/// Higher: it stays slow for longer.
pub const THROTTLED_SAMPLES_MAX: u32 = 5;

/// Submissions remembered against which an error of a device counted. Two of them already count
/// against the device.
pub const XID_BLAMED_MAX: usize = 8;

/// Characters of an operator's reason.
pub const ORDER_REASON_CHARS_MAX: usize = 200;

/// Seeds below which a quality has no spread, and so is compared with nothing.
pub const SEEDS_MIN: usize = 2;

/// Bytes of predictions for one batch. Lower: fewer tokens fit a batch. Higher: a run costs the
/// node that much memory, three times.
pub const PREDICTION_BYTES_MAX: usize = 64 << 20;

/// Shortens a foreign text to what evidence may carry.
#[must_use]
pub fn clip_detail(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || *c == '\n').take(DETAIL_CHARS_MAX).collect()
}
