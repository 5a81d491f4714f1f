//! How large the module is. Each Envoy compiles all of it at its start, and keeps most of the memory that this takes.

use wasmparser::{Parser, Payload};

use crate::compiled::code_of_the_module;

const KIB: usize = 1024;

/// Measured: 1,014 KiB. What V8 makes of it stays in memory, as does the code itself.
#[test]
fn the_module_is_no_larger_than_a_mebibyte() {
    let length = code_of_the_module().len();
    assert!(length <= KIB * KIB, "{length} bytes");
}

/// Measured: 18, of which 16 are the stack. There is a memory for each worker, and two more.
#[test]
fn a_vm_begins_with_little_memory() {
    let memories = parts(|payload| match payload {
        Payload::MemorySection(memories) => memories.into_iter().map(|memory| memory.unwrap().initial).collect(),
        _ => vec![],
    });
    assert!(matches!(memories[..], [1..=20]), "pages: {memories:?}");
}

/// Measured: 22 KiB. The largest function decides how much V8 takes to compile: one of 64 KiB takes 8 MiB more, one of 150 KiB 35 MiB.
#[test]
fn no_function_is_large() {
    let sizes = parts(|payload| match payload {
        Payload::CodeSectionEntry(function) => vec![function.range().len()],
        _ => vec![],
    });
    let largest = sizes.into_iter().max().unwrap();
    assert!(largest <= 24 * KIB, "{largest} bytes; a section of the configuration that is not read apart?");
}

fn parts<T>(of: impl Fn(Payload<'_>) -> Vec<T>) -> Vec<T> {
    Parser::new(0).parse_all(&code_of_the_module()).flat_map(|payload| of(payload.unwrap())).collect()
}
