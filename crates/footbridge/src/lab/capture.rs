//! Captures by tcpdump inside the lab, and reading their files.
//!
//! The file format is pcap 2.4 (draft-ietf-opsawg-pcap), Ethernet, either byte order, micro- or
//! nanoseconds. A record that lies about its length ends the reading.

use super::{Lab, LabError, programs};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

/// How long tcpdump may take to begin or to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A tcpdump at work.
pub(crate) struct Capture {
    child: Child,
    file: PathBuf,
    member: String,
}

impl Capture {
    /// Capture what `filter` takes on a device of a node, a pod or the underlay. Returns when tcpdump
    /// listens.
    pub(crate) async fn start(
        lab: &Lab,
        member: &str,
        device: &str,
        filter: &str,
    ) -> Result<Capture, LabError> {
        let file = lab.places.run().join(format!("capture-{member}-{device}.pcap"));
        let path = file.display().to_string();
        // -Z root: tcpdump else becomes a user who may not write there.
        let mut words =
            vec!["tcpdump", "-Z", "root", "-n", "-p", "--immediate-mode", "-U", "-i", device, "-w", &path];
        words.extend(filter.split_whitespace());
        let mut child = lab
            .command(member, &words)
            .stdout(Stdio::null())
            .spawn()
            .map_err(|e| LabError::io("run tcpdump", e))?;
        let mut said = String::new();
        if let Some(stderr) = child.stderr.take() {
            let mut lines = BufReader::new(stderr).lines();
            let listening = async {
                while let Ok(Some(line)) = lines.next_line().await {
                    said += &format!("{line}\n");
                    if line.contains("listening on") {
                        // Its summary at the end needs a reader.
                        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                        return true;
                    }
                }
                false
            };
            if tokio::time::timeout(PATIENCE, listening).await != Ok(true) {
                return Err(LabError::io(
                    format!("capture on {device} of {member}"),
                    std::io::Error::other(said),
                ));
            }
        }
        Ok(Capture { child, file, member: member.to_owned() })
    }

    /// The frames so far.
    pub(crate) fn frames(&self) -> Result<Vec<Vec<u8>>, LabError> {
        let bytes = std::fs::read(&self.file)
            .map_err(|e| LabError::io(format!("read {}", self.file.display()), e))?;
        Ok(frames(&bytes))
    }

    /// The end of the capture: its frames, and where the file is.
    pub(crate) async fn stop(mut self) -> Result<(Vec<Vec<u8>>, PathBuf), LabError> {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            // Not reaped yet, so it is still that process.
            let _gone = kill(Pid::from_raw(pid), Signal::SIGINT);
        }
        if tokio::time::timeout(PATIENCE, self.child.wait()).await.is_err() {
            return Err(LabError::TooSlow {
                command: format!("tcpdump in {}", self.member),
                seconds: PATIENCE.as_secs(),
            });
        }
        Ok((self.frames()?, self.file.clone()))
    }
}

/// What `tcpdump -en` prints of a file.
pub(crate) async fn printed(lab: &Lab, file: &Path, filter: &str) -> Result<String, LabError> {
    let path = file.display().to_string();
    let mut words = vec!["tcpdump", "-Z", "root", "-en", "-r", &path];
    words.extend(filter.split_whitespace());
    programs::output(lab.command("underlay", &words)).await
}

/// The frames of a pcap file; none when it is none.
pub(crate) fn frames(bytes: &[u8]) -> Vec<Vec<u8>> {
    const HEADER: usize = 24;
    const RECORD: usize = 16;
    let little = match bytes.get(..4) {
        Some([0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1]) => true,
        Some([0xa1, 0xb2, 0xc3, 0xd4] | [0xa1, 0xb2, 0x3c, 0x4d]) => false,
        _ => return Vec::new(),
    };
    let mut rest = bytes.get(HEADER..).unwrap_or_default();
    let mut frames = Vec::new();
    // Seconds, fraction, captured length, original length.
    while let Some([a, b, c, d]) = rest.get(8..12).and_then(|b| <[u8; 4]>::try_from(b).ok()) {
        let word = [a, b, c, d];
        let length = if little { u32::from_le_bytes(word) } else { u32::from_be_bytes(word) };
        let Some(frame) = usize::try_from(length).ok().and_then(|n| rest.get(RECORD..RECORD.checked_add(n)?))
        else {
            break;
        };
        frames.push(frame.to_vec());
        rest = rest.get(RECORD + frame.len()..).unwrap_or_default();
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(records: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0];
        bytes.resize(24, 0);
        for record in records {
            bytes.extend([0; 8]);
            let length = u32::try_from(record.len()).unwrap().to_le_bytes();
            bytes.extend(length);
            bytes.extend(length);
            bytes.extend(*record);
        }
        bytes
    }

    #[test]
    fn reads_every_whole_record() {
        let bytes = file(&[b"one", b"", b"three"]);
        assert_eq!(frames(&bytes), [b"one".to_vec(), b"".to_vec(), b"three".to_vec()]);
    }

    #[test]
    fn a_cut_file_gives_what_is_whole() {
        let bytes = file(&[b"one", b"two"]);
        for length in 0..bytes.len() {
            assert!(frames(&bytes[..length]).len() < 2);
        }
    }

    #[test]
    fn a_record_that_lies_about_its_length_ends_the_reading() {
        let mut bytes = file(&[b"one", b"two"]);
        bytes[24 + 8..24 + 12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(frames(&bytes).is_empty());
    }
}
