//! What is wrong in a file that people write: every problem at once, each with its place and a way out.

use std::fmt;

use serde::Serialize;

/// Where something stands that a person wrote.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum Place {
    /// In a file; line and column count from 1, columns in characters.
    File {
        /// The file as it is shown to people.
        file: String,
        /// Line.
        line: u64,
        /// Column.
        column: u64,
    },
    /// On the command line.
    Flag {
        /// `--set bgp.mesh`, `--nodes`.
        flag: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Self::Flag { flag } => f.write_str(flag),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What, as a lower-case fragment.
    pub reason: String,
    /// The nearest word that would be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest: Option<String>,
    /// What to write or do instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Problem {
    /// A problem without a way out yet.
    pub fn new(place: &Place, reason: impl Into<String>) -> Self {
        Self { place: place.clone(), reason: reason.into(), nearest: None, remedy: None }
    }

    /// The same with a way out.
    #[must_use]
    pub fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// The same with the word of `right` that `word` may have meant, or with all of them if none is near.
    #[must_use]
    pub fn choose<W: AsRef<str>>(self, word: &str, right: &[W]) -> Self {
        match nearest(word, right) {
            Some(near) => Self { nearest: Some(near.into()), ..self },
            None if right.is_empty() => self,
            None => {
                let all: Vec<&str> = right.iter().map(AsRef::as_ref).collect();
                self.remedy(format!("there is {}", all.join(", ")))
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)?;
        if let Some(nearest) = &self.nearest {
            write!(f, "; did you mean `{nearest}`?")?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "; {remedy}")?;
        }
        Ok(())
    }
}

/// Everything that is wrong, in the order of the text; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Nothing if there is no problem; else all of them, the command line's first, then by place.
    pub(in crate::lab) fn none_or(mut found: Vec<Problem>) -> Result<(), Self> {
        found.sort_by(|a, b| sort_key(&a.place).cmp(&sort_key(&b.place)));
        found.dedup();
        if found.is_empty() { Ok(()) } else { Err(Self(found)) }
    }

    /// These and then those of another file.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The problems.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Problem> {
        self.0.iter()
    }
}

fn sort_key(place: &Place) -> (&str, u64, u64) {
    match place {
        Place::Flag { .. } => ("", 0, 0),
        Place::File { file, line, column } => (file, *line, *column),
    }
}

impl From<Problem> for Problems {
    fn from(one: Problem) -> Self {
        Self(vec![one])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The word of `right` that `word` is most likely a slip of, if any is near enough.
pub fn nearest<'a, W: AsRef<str>>(word: &str, right: &'a [W]) -> Option<&'a str> {
    let slips = |other: &str| strsim::damerau_levenshtein(&word.to_lowercase(), &other.to_lowercase());
    let near = |other: &&str| {
        let allowed = (word.chars().count().min(other.chars().count()) / 3).max(1);
        slips(other) <= allowed || (word.len() >= 3 && (other.starts_with(word) || word.starts_with(*other)))
    };
    right.iter().map(AsRef::as_ref).filter(near).min_by_key(|other| slips(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_pen_are_found_and_strangers_are_not() {
        let right = ["memory", "disk", "cpus", "names"];
        for (word, near) in
            [("memroy", Some("memory")), ("mem", Some("memory")), ("Disk", Some("disk")), ("cpu", Some("cpus"))]
        {
            assert_eq!(nearest(word, &right), near, "{word}");
        }
        assert_eq!(nearest("kernel", &right), None);
        assert_eq!(nearest("x", &right), None);
    }
}
