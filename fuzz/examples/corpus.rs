//! `corpus pack DIRECTORY FILE` keeps all inputs of a directory in one file; `corpus unpack FILE DIRECTORY` gives them
//! back to the fuzzer. Thousands of files of a few bytes are no joy to anybody.

use std::path::Path;

use branchline_fuzz::kept;

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["pack", from, to] => {
            let mut files: Vec<_> = std::fs::read_dir(from)?.collect::<Result<_, _>>()?;
            files.sort_by_key(std::fs::DirEntry::file_name);
            let inputs: Vec<Vec<u8>> = files.iter().map(|f| std::fs::read(f.path())).collect::<Result<_, _>>()?;
            std::fs::write(to, kept::pack(&inputs))
        }
        ["unpack", from, to] => {
            std::fs::create_dir_all(to)?;
            for (n, input) in kept::unpack(&std::fs::read(from)?).iter().enumerate() {
                std::fs::write(Path::new(to).join(format!("{n:05}")), input)?;
            }
            Ok(())
        }
        _ => Err(std::io::Error::other("usage: corpus pack DIRECTORY FILE | corpus unpack FILE DIRECTORY")),
    }
}
