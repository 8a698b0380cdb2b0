//! Inputs kept in one file: each after its length in two bytes.

/// The inputs, longest 65,535 bytes, one after the other.
pub fn pack(inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for input in inputs {
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
