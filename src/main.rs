//! Entry point of the `branchline` binary.

use std::process::ExitCode;

use branchline::io::media::media_memory::MediaAllocator;

#[global_allocator]
static ALLOCATOR: MediaAllocator = MediaAllocator;

fn main() -> ExitCode {
    branchline::cli::main(std::env::args_os())
}
