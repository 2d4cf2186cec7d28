//! The text of the probe's kernels does what the probe believes it does.
//!
//! A probe whose kernels are wrong finds fault with every GPU. Without one at hand the text is run
//! by a machine of our own (`machine`), with the shapes that the probe launches.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

mod machine;

use machine::{Kernel, Machine, BASE};

const TEXT: &str = include_str!("../../src/probe/kernels.ptx");
const THREADS: (u32, u32, u32) = (256, 1, 1);

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
}

fn pattern(index: u32, seed: u32, flip: u32) -> u32 {
    let mixed = index.wrapping_mul(2_654_435_761).wrapping_add(seed);
    mixed ^ (mixed >> 15) ^ flip
}

#[test]
fn the_kernel_with_a_known_result_writes_it_and_nothing_behind_it() {
    let (count, seed) = (1000_u32, 0x9e37_79b9_u32);
    let mut machine = Machine { memory: vec![0xee; 4 * 1024] };
    let kernel = Kernel::read(TEXT, "probe_known");
    machine.run(&kernel, (4, 1, 1), THREADS, &[BASE, u64::from(count), u64::from(seed)]);
    let known = |index: u32| {
        (0..64).fold(index ^ seed, |x, _| {
            let x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            x ^ (x >> 13)
        })
    };
    let expected: Vec<u32> =
        (0..1024).map(|at| if at < count { known(at) } else { 0xeeee_eeee }).collect();
    assert_eq!(words(&machine.memory), expected);
}

#[test]
fn a_pattern_fills_all_words_and_only_those() {
    let (count, seed, flip) = (5_003_u32, 0x5eed_0001_u32, u32::MAX);
    let mut machine = Machine { memory: vec![0; 4 * 5_120] };
    let kernel = Kernel::read(TEXT, "probe_fill");
    // Fewer threads than words: each has several.
    let arguments = [BASE, u64::from(count), u64::from(seed), u64::from(flip)];
    machine.run(&kernel, (3, 1, 1), THREADS, &arguments);
    let expected: Vec<u32> =
        (0..5_120).map(|at| if at < count { pattern(at, seed, flip) } else { 0 }).collect();
    assert_eq!(words(&machine.memory), expected);
}

#[test]
fn wrong_words_are_counted_and_the_first_is_named() {
    let (count, seed) = (5_003_u32, 0x5eed_0001_u32);
    for wrong in [vec![], vec![4_999], vec![700, 41, 4_000]] {
        let mut memory: Vec<u8> =
            (0..count).flat_map(|at| pattern(at, seed, 0).to_le_bytes()).collect();
        for at in &wrong {
            memory[4 * at + 1] ^= 0x10;
        }
        memory.resize(6_000 * 4, 0);
        let bad = memory.len();
        memory.extend(0_u64.to_le_bytes());
        memory.extend(u64::MAX.to_le_bytes());
        let mut machine = Machine { memory };
        let kernel = Kernel::read(TEXT, "probe_check");
        let arguments = [BASE, u64::from(count), u64::from(seed), 0, BASE + bad as u64];
        machine.run(&kernel, (3, 1, 1), THREADS, &arguments);
        let number = |at: usize| u64::from_le_bytes(machine.memory[at..at + 8].try_into().unwrap());
        assert_eq!(number(bad), wrong.len() as u64);
        let first = wrong.iter().min().map_or(u64::MAX, |at| *at as u64);
        assert_eq!(number(bad + 8), first);
    }
}

#[test]
fn the_matrix_kernel_multiplies() {
    let side = 128_usize;
    let entry = |index: usize| u8::try_from(index * 7 % 11 + index / side % 5).unwrap();
    let a: Vec<f32> = (0..side * side).map(|at| f32::from(entry(at))).collect();
    let b: Vec<f32> = (0..side * side).map(|at| f32::from(entry(at * 3 + 1) ^ 1)).collect();
    let mut memory: Vec<u8> = a.iter().chain(&b).flat_map(|value| value.to_le_bytes()).collect();
    let matrix = memory.len() / 2;
    memory.resize(3 * matrix, 0xee);
    let mut machine = Machine { memory };
    let kernel = Kernel::read(TEXT, "probe_matmul");
    let places = [0, 1, 2].map(|n| BASE + (n * matrix) as u64);
    let tiles = u32::try_from(side).unwrap() / 64;
    let arguments = [places[0], places[1], places[2], side as u64];
    machine.run(&kernel, (tiles, tiles, 1), (16, 16, 1), &arguments);
    let product = |at: usize| -> f32 {
        let (row, column) = (at / side, at % side);
        (0..side).map(|k| a[row * side + k] * b[k * side + column]).sum()
    };
    let expected: Vec<u32> = (0..side * side).map(|at| product(at).to_bits()).collect();
    assert_eq!(words(&machine.memory[2 * matrix..]), expected);
    // Neither input is touched.
    assert_eq!(words(&machine.memory[..matrix]), a.iter().map(|a| a.to_bits()).collect::<Vec<_>>());
}
