//! A story as a page: a chapter for each place, with each bridge's walk as a page of its own within it.

use super::Story;
use crate::walk::Markdown;
use core::fmt::{self, Display, Formatter};

/// The page.
pub(crate) struct Page<'a>(pub(crate) &'a Story);

impl Display for Page<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "# A packet's story\n")?;
        for (at, part) in self.0.parts.iter().enumerate() {
            writeln!(f, "## {}. {}, {}\n\n`{}`\n", at + 1, part.node, part.place, part.packet)?;
            part.says.iter().try_for_each(|says| writeln!(f, "- {}", says.replace('*', "\\*")))?;
            if let Some(walk) = &part.walk {
                let page = Markdown(walk).to_string();
                // Its headings stand below the chapter's.
                for line in page.lines() {
                    match line.starts_with('#') {
                        true => writeln!(f, "##{line}")?,
                        false => writeln!(f, "{line}")?,
                    }
                }
            }
            writeln!(f)?;
        }
        writeln!(f, "**{}**", self.0.end)
    }
}
