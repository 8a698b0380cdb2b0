//! Inputs kept in one file: each after its length in two bytes.

/// Most bytes that are kept of one target.
pub const MOST: usize = 640 * 1024;

/// The inputs, longest 65,535 bytes, one after the other; those that are too long for all to have place are left out.
pub fn pack(inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut order: Vec<usize> = (0..inputs.len()).collect();
    order.sort_by_key(|&i| inputs[i].len());
    let mut room = MOST;
    order.retain(|&i| {
        let fits = inputs[i].len() + 2 <= room;
        room -= if fits { inputs[i].len() + 2 } else { 0 };
        fits
    });
    order.sort_unstable();
    let mut out = Vec::new();
    for input in order.into_iter().map(|i| &inputs[i]) {
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
