//! What is wrong inside a file that was fetched as it should be, so that nothing of it is used.

use super::mib;

/// What is wrong inside a file that was fetched as it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A name with `..` or from the root.
    #[error("its name leads out of the archive")]
    Outside,
    /// A link to somewhere else.
    #[error("it is a link to `{target}`, out of the archive")]
    LinkOutside {
        /// Where it leads.
        target: String,
    },
    /// Links in a circle.
    #[error("its links lead in a circle")]
    Circle,
    /// A device, a pipe, or the like.
    #[error("it is no file")]
    NoFile,
    /// Two entries of one name.
    #[error("it is in the archive twice, with different content")]
    Twice,
    /// The archive ends in the middle of it.
    #[error("it is cut short")]
    Short,
    /// It is larger than anything that is used.
    #[error("it has more than {} MiB", mib(*most))]
    TooLarge {
        /// The most bytes it may have.
        most: u64,
    },
    /// A bomb: what comes out is out of all proportion.
    #[error("more than {most} bytes or entries would come out of it")]
    Bomb {
        /// The most that may come out of a file of its size.
        most: u64,
    },
    /// More stands before an entry than a name can need.
    #[error("what follows it is no entry of a tar")]
    LongName,
    /// What should be read is no text.
    #[error("it is no text in UTF-8")]
    NoText,
    /// An image's file that is not the disk it should be.
    #[error("{0}")]
    Disk(String),
}
