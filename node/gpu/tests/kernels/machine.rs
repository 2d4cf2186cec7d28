//! A machine that runs the text of a kernel, thread by thread, as its assembler's manual says.
//!
//! It knows the instructions that the probe uses and stops at every other.

use std::collections::BTreeMap;

/// Where global memory begins, so that an address is never a small number by chance.
pub(crate) const BASE: u64 = 0x10_0000;

/// A kernel, read.
pub(crate) struct Kernel {
    parameters: Vec<String>,
    shared: BTreeMap<String, u64>,
    shared_bytes: usize,
    registers: usize,
    code: Vec<Instruction>,
    labels: BTreeMap<String, usize>,
}

struct Instruction {
    /// The register that has to be true, if one has to.
    only_if: Option<usize>,
    name: Vec<String>,
    operands: Vec<Operand>,
}

#[derive(Clone)]
enum Operand {
    Register(usize),
    Number(u64),
    Special(String),
    /// Memory at a register and so many bytes on.
    At(usize, u64),
    /// A parameter's memory, a label, or shared memory.
    Name(String),
    Vector(Vec<usize>),
}

impl Kernel {
    /// The kernel `name` in `text`.
    pub(crate) fn read(text: &str, name: &str) -> Self {
        let text: String =
            text.lines().map(|line| line.split("//").next().unwrap().to_owned() + "\n").collect();
        let (_, rest) = text.split_once(&format!(".entry {name}(")).unwrap();
        let (parameters, rest) = rest.split_once(')').unwrap();
        let (_, rest) = rest.split_once("\n{\n").unwrap();
        let (body, _) = rest.split_once("\n}\n").unwrap();
        let last = |text: &str| text.split_whitespace().last().unwrap().to_owned();
        let mut kernel = Self {
            parameters: parameters.split(',').map(last).collect(),
            shared: BTreeMap::new(),
            shared_bytes: 0,
            registers: 0,
            code: Vec::new(),
            labels: BTreeMap::new(),
        };
        let mut numbers = BTreeMap::new();
        for line in body.lines().map(str::trim).filter(|line| !line.is_empty()) {
            kernel.read_line(line, &mut numbers);
        }
        kernel.registers = numbers.len();
        kernel
    }

    fn read_line(&mut self, line: &str, numbers: &mut BTreeMap<String, usize>) {
        if let Some(label) = line.strip_suffix(':') {
            self.labels.insert(label.to_owned(), self.code.len());
            return;
        }
        let line = line.strip_suffix(';').unwrap_or_else(|| panic!("`{line}` has no end"));
        if let Some(declared) = line.strip_prefix(".shared .align 16 .b8 ") {
            let (name, bytes) = declared.strip_suffix(']').unwrap().split_once('[').unwrap();
            self.shared.insert(name.to_owned(), self.shared_bytes as u64);
            self.shared_bytes += bytes.parse::<usize>().unwrap();
            return;
        }
        if line.starts_with(".reg") {
            return;
        }
        let (only_if, line) = match line.strip_prefix('@') {
            None => (None, line),
            Some(guarded) => {
                let (register, line) = guarded.split_once(' ').unwrap();
                (Some(number(register, numbers)), line)
            }
        };
        let (name, operands) = line.split_once(' ').unwrap_or((line, ""));
        let name = name.split('.').map(str::to_owned).collect();
        let operands = split(operands).iter().map(|text| operand(text, numbers)).collect();
        self.code.push(Instruction { only_if, name, operands });
    }
}

fn number(register: &str, numbers: &mut BTreeMap<String, usize>) -> usize {
    let next = numbers.len();
    *numbers.entry(register.to_owned()).or_insert(next)
}

/// At commas that are not within braces.
fn split(operands: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for c in operands.chars().filter(|c| !c.is_whitespace()) {
        depth += i32::from(c == '{') - i32::from(c == '}');
        if c == ',' && depth == 0 {
            parts.push(String::new());
        } else {
            parts.last_mut().unwrap().push(c);
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn operand(text: &str, numbers: &mut BTreeMap<String, usize>) -> Operand {
    const SPECIAL: [&str; 4] = ["%tid.", "%ntid.", "%ctaid.", "%nctaid."];
    if SPECIAL.iter().any(|special| text.starts_with(special)) {
        return Operand::Special(text.to_owned());
    }
    if let Some(inside) = text.strip_prefix('[') {
        let inside = inside.strip_suffix(']').unwrap();
        let (base, offset) = inside.split_once('+').unwrap_or((inside, "0"));
        return match base.starts_with('%') {
            true => Operand::At(number(base, numbers), offset.parse().unwrap()),
            false => Operand::Name(base.to_owned()),
        };
    }
    if let Some(inside) = text.strip_prefix('{') {
        let inside = inside.strip_suffix('}').unwrap();
        return Operand::Vector(inside.split(',').map(|name| number(name, numbers)).collect());
    }
    if text.starts_with('%') {
        return Operand::Register(number(text, numbers));
    }
    if let Some(bits) = text.strip_prefix("0f") {
        return Operand::Number(u64::from_str_radix(bits, 16).unwrap());
    }
    text.parse().map_or_else(|_| Operand::Name(text.to_owned()), Operand::Number)
}

/// A place among blocks and threads.
type Place = (u32, u32, u32);

struct Thread {
    registers: Vec<u64>,
    next: usize,
    is_over: bool,
    thread: Place,
}

/// The GPU: its memory.
pub(crate) struct Machine {
    pub(crate) memory: Vec<u8>,
}

struct Block<'a> {
    kernel: &'a Kernel,
    arguments: &'a [u64],
    memory: &'a mut Vec<u8>,
    shared: Vec<u8>,
    block: Place,
    blocks: Place,
    threads: Place,
}

impl Machine {
    /// Runs a kernel to its end.
    pub(crate) fn run(
        &mut self,
        kernel: &Kernel,
        blocks: Place,
        threads: Place,
        arguments: &[u64],
    ) {
        assert_eq!(kernel.parameters.len(), arguments.len());
        for place in places(blocks) {
            let block = Block {
                kernel,
                arguments,
                memory: &mut self.memory,
                shared: vec![0; kernel.shared_bytes],
                block: place,
                blocks,
                threads,
            };
            block.run();
        }
    }
}

fn places(size: Place) -> impl Iterator<Item = Place> {
    let (x, y, z) = size;
    (0..z).flat_map(move |k| (0..y).flat_map(move |j| (0..x).map(move |i| (i, j, k))))
}

impl Block<'_> {
    fn run(mut self) {
        let thread = |thread| Thread {
            registers: vec![0; self.kernel.registers],
            next: 0,
            is_over: false,
            thread,
        };
        let mut threads: Vec<Thread> = places(self.threads).map(thread).collect();
        // From one barrier to the next.
        while threads.iter().any(|thread| !thread.is_over) {
            for thread in threads.iter_mut().filter(|thread| !thread.is_over) {
                while self.step(thread) {}
            }
            let stopped: Vec<usize> =
                threads.iter().filter(|t| !t.is_over).map(|t| t.next).collect();
            assert!(stopped.windows(2).all(|pair| pair[0] == pair[1]), "a barrier not all reach");
            let all_or_none = stopped.is_empty() || stopped.len() == threads.len();
            assert!(all_or_none, "a thread ended before a barrier");
        }
    }

    /// One instruction. False at a barrier and at the end.
    fn step(&mut self, thread: &mut Thread) -> bool {
        let kernel = self.kernel;
        let instruction = &kernel.code[thread.next];
        thread.next += 1;
        if instruction.only_if.is_some_and(|register| thread.registers[register] == 0) {
            return true;
        }
        let operands = &instruction.operands;
        let name: Vec<&str> = instruction.name.iter().map(String::as_str).collect();
        let value = |at: usize| self.value(thread, &operands[at]);
        let word = |at: usize| u32::try_from(value(at)).unwrap();
        let float = |at: usize| f32::from_bits(word(at));
        let result = match name[..] {
            ["ret"] => {
                thread.is_over = true;
                return false;
            }
            ["bar", "sync"] => return false,
            ["bra"] => {
                let Operand::Name(label) = &operands[0] else { panic!("a jump to nowhere") };
                thread.next = kernel.labels[label];
                return true;
            }
            ["ld", "param", kind] => {
                let Operand::Name(name) = &operands[1] else { panic!("no parameter") };
                let at = kernel.parameters.iter().position(|own| own == name).unwrap();
                let argument = self.arguments[at];
                assert!(kind == "u64" || argument <= u64::from(u32::MAX));
                argument
            }
            ["mov", ..] | ["cvta", "to", "global", "u64"] | ["cvt", "u64", "u32"] => value(1),
            ["cvt", "u32", "u64"] => value(1) & 0xffff_ffff,
            ["add", "u32"] => u64::from(word(1).wrapping_add(word(2))),
            ["add", "s64" | "u64"] => value(1).wrapping_add(value(2)),
            ["mul", "lo", "u32"] => u64::from(word(1).wrapping_mul(word(2))),
            ["mul", "wide", "u32"] => u64::from(word(1)) * u64::from(word(2)),
            ["mad", "lo", "u32"] => u64::from(word(1).wrapping_mul(word(2)).wrapping_add(word(3))),
            ["and", "b32"] => u64::from(word(1) & word(2)),
            ["xor", "b32"] => u64::from(word(1) ^ word(2)),
            ["shl", "b32"] => u64::from(word(1) << word(2)),
            ["shl", "b64"] => value(1) << value(2),
            ["shr", "u32"] => u64::from(word(1) >> word(2)),
            ["shr", "u64"] => value(1) >> value(2),
            ["setp", "ge", "u32" | "u64"] => u64::from(value(1) >= value(2)),
            ["setp", "lt", "u32" | "u64"] => u64::from(value(1) < value(2)),
            ["setp", "eq", "u32"] => u64::from(value(1) == value(2)),
            ["fma", "rn", "f32"] => u64::from(float(1).mul_add(float(2), float(3)).to_bits()),
            ["ld" | "st" | "atom", space, ..] => {
                self.touch(thread, &name, operands, space);
                return true;
            }
            _ => panic!("the instruction {} is not known", name.join(".")),
        };
        let Operand::Register(target) = operands[0] else { panic!("no register for a result") };
        thread.registers[target] = result;
        true
    }

    fn value(&self, thread: &Thread, operand: &Operand) -> u64 {
        let along = |place: Place, axis: &str| match axis {
            "x" => u64::from(place.0),
            "y" => u64::from(place.1),
            _ => u64::from(place.2),
        };
        match operand {
            Operand::Register(register) => thread.registers[*register],
            Operand::Number(number) => *number,
            Operand::Name(name) => self.kernel.shared[name],
            Operand::Special(name) => match name.split_once('.').unwrap() {
                ("%tid", axis) => along(thread.thread, axis),
                ("%ntid", axis) => along(self.threads, axis),
                ("%ctaid", axis) => along(self.block, axis),
                (_, axis) => along(self.blocks, axis),
            },
            Operand::At(..) | Operand::Vector(_) => panic!("no value"),
        }
    }

    /// Reads or writes memory: words of 32 bits, or for `atom` one of 64.
    fn touch(&mut self, thread: &mut Thread, name: &[&str], operands: &[Operand], space: &str) {
        let is_store = name[0] == "st";
        let (address, other) = match is_store {
            true => (&operands[0], &operands[1]),
            false => (&operands[1], &operands[0]),
        };
        let Operand::At(register, offset) = address else { panic!("no address") };
        let address = thread.registers[*register] + offset;
        let (memory, at) = match space {
            "global" => (&mut *self.memory, address.checked_sub(BASE).expect("a wild address")),
            "shared" => (&mut self.shared, address),
            _ => panic!("the space {space} is not known"),
        };
        let at = usize::try_from(at).unwrap();
        if name[0] == "atom" {
            let Operand::Register(before) = other else { panic!("no register") };
            let place = memory.get_mut(at..at + 8).expect("a wild address");
            let old = u64::from_le_bytes((&*place).try_into().unwrap());
            let operand = match operands[2] {
                Operand::Register(register) => thread.registers[register],
                Operand::Number(number) => number,
                _ => panic!("no value"),
            };
            let new = match name[2] {
                "add" => old.wrapping_add(operand),
                "min" => old.min(operand),
                other => panic!("atom.{other} is not known"),
            };
            place.copy_from_slice(&new.to_le_bytes());
            thread.registers[*before] = old;
            return;
        }
        let registers = match other {
            Operand::Register(register) => vec![*register],
            Operand::Vector(registers) => registers.clone(),
            _ => panic!("no register"),
        };
        assert_eq!(at % (4 * registers.len()), 0, "an address that the hardware refuses");
        for (step, register) in registers.into_iter().enumerate() {
            let at = at + 4 * step;
            let place = memory.get_mut(at..at + 4).expect("a wild address");
            if is_store {
                let word = u32::try_from(thread.registers[register]).unwrap();
                place.copy_from_slice(&word.to_le_bytes());
            } else {
                let word = u32::from_le_bytes((&*place).try_into().unwrap());
                thread.registers[register] = u64::from(word);
            }
        }
    }
}
