//! Inputs kept in one file: each after its length in two bytes.

/// Most bytes that are kept of one target.
pub const MOST: usize = 640 * 1024;

/// The inputs, longest 65,535 bytes, one after the other; those that are too long for all to have place are left out.
pub fn pack(inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut lengths: Vec<usize> = inputs.iter().map(Vec::len).collect();
    lengths.sort_unstable();
    let mut taken = 0;
    let fits = |len: &&usize| {
        taken += **len + 2;
        taken <= MOST
    };
    let longest = lengths.iter().take_while(fits).last().copied().unwrap_or(0);
    let mut out = Vec::new();
    for input in inputs.iter().filter(|i| i.len() <= longest) {
        if out.len() + input.len() + 2 > MOST {
            break;
        }
        if let Ok(len) = u16::try_from(input.len()) {
            out.extend(len.to_be_bytes());
            out.extend_from_slice(input);
        }
    }
    out
}

/// The inputs of a file.
pub fn unpack(file: &[u8]) -> Vec<Vec<u8>> {
    let (mut out, mut rest) = (Vec::new(), file);
    while let Some((len, after)) = rest.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes(*len)).min(after.len());
        let (input, next) = after.split_at(len);
        out.push(input.to_vec());
        rest = next;
    }
    out
}
