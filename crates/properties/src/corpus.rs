//! Corpora in the repository: one file a target, one line an input.
//!
//! Bytes stand as hexadecimal digits; text as it is, but for `\\`, `\n` and other control characters,
//! which stand as in Rust (`\u{7f}`).

use crate::Input;

/// The inputs that a file holds.
///
/// # Errors
///
/// The number, from 1, of the first line that is not of the form.
pub fn read(file: &str, input: Input) -> Result<Vec<Vec<u8>>, usize> {
    file.lines().enumerate().map(|(i, line)| read_line(line, input).ok_or(i + 1)).collect()
}

fn read_line(line: &str, input: Input) -> Option<Vec<u8>> {
    match input {
        Input::Bytes => {
            let digits: Vec<u8> = line.chars().map(|c| Some(c.to_digit(16)? as u8)).collect::<Option<_>>()?;
            let (pairs, rest) = digits.as_chunks::<2>();
            rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
        }
        Input::Text => {
            let (mut text, mut rest) = (String::new(), line);
            while let Some((before, escape)) = rest.split_once('\\') {
                text.push_str(before);
                let (c, behind) = match escape.strip_prefix("u{") {
                    Some(hex) => {
                        let (hex, behind) = hex.split_once('}')?;
                        (char::from_u32(u32::from_str_radix(hex, 16).ok()?)?, behind)
                    }
                    None => match escape.split_at_checked(1)? {
                        ("n", behind) => ('\n', behind),
                        ("\\", behind) => ('\\', behind),
                        _ => return None,
                    },
                };
                text.push(c);
                rest = behind;
            }
            text.push_str(rest);
            Some(text.into_bytes())
        }
    }
}

/// One line of a file, without its line feed. Text that is not UTF-8 is none of its target's inputs.
pub fn line(input: &[u8], kind: Input) -> Option<String> {
    match kind {
        Input::Bytes => Some(input.iter().map(|b| format!("{b:02x}")).collect()),
        Input::Text => {
            let text = str::from_utf8(input).ok()?;
            Some(text.chars().fold(String::new(), |line, c| match c {
                '\\' => line + "\\\\",
                '\n' => line + "\\n",
                c if c.is_control() => line + &c.escape_unicode().to_string(),
                c => line + c.encode_utf8(&mut [0; 4]),
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for (bytes, kind) in [
            (&[0, 0x7f, 0xff][..], Input::Bytes),
            (b"", Input::Bytes),
            ("a\\n\\\n\r#\u{e9}\t\0\u{7f}u{7f}\\".as_bytes(), Input::Text),
            (b"", Input::Text),
        ] {
            let line = line(bytes, kind).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(read(&format!("{line}\n"), kind), Ok(vec![bytes.to_vec()]));
        }
    }

    #[test]
    fn a_line_of_another_form_is_an_error() {
        assert_eq!(read("00\n0", Input::Bytes), Err(2));
        for line in ["a\\x", "a\\", "\\u{", "\\u{110000}", "\\é"] {
            assert_eq!(read(line, Input::Text), Err(1), "{line}");
        }
    }
}
