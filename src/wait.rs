//! The one waiting loop: a condition, a deadline, a pause, and the last reason when it ends badly.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

/// What a condition answers when asked once.
#[derive(Debug)]
pub enum Asked<T> {
    /// It holds, and this is what it showed.
    Yes(T),
    /// It does not hold yet.
    NotYet(String),
    /// It will not hold, however long one waits.
    Never(String),
}

/// How long to wait in all, and how long between two questions.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Time in all, from the first question.
    pub limit: Duration,
    /// Pause between an answer and the next question.
    pub pause: Duration,
}

/// Why waiting ended without a yes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// The time ran out; the last answer is kept.
    #[error("not after {} s: {last}", after.as_secs())]
    TimedOut {
        /// How long was waited.
        after: Duration,
        /// The last reason heard.
        last: String,
    },
    /// The condition can no longer come true.
    #[error("{why}")]
    Never {
        /// The reason.
        why: String,
    },
}

/// Ask until the answer is yes or never, or the time is up. The condition is asked at least once.
pub async fn until<T, Ask, Answer>(patience: Patience, mut ask: Ask) -> Result<T, WaitError>
where
    Ask: FnMut() -> Answer,
    Answer: Future<Output = Asked<T>>,
{
    let start = Instant::now();
    loop {
        let last = match ask().await {
            Asked::Yes(value) => return Ok(value),
            Asked::Never(why) => return Err(WaitError::Never { why }),
            Asked::NotYet(why) => why,
        };
        if start.elapsed() + patience.pause >= patience.limit {
            return Err(WaitError::TimedOut { after: start.elapsed(), last });
        }
        tokio::time::sleep(patience.pause).await; // what is waited for tells nobody when it comes; all who wait call this
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Patience = Patience { limit: Duration::from_secs(10), pause: Duration::from_secs(1) };

    #[tokio::test(start_paused = true)]
    async fn the_last_reason_is_kept() {
        let mut asked = 0;
        let error = until::<(), _, _>(SHORT, || {
            asked += 1;
            let why = format!("reason {asked}");
            async move { Asked::NotYet(why) }
        })
        .await
        .expect_err("never true");
        assert!(matches!(error, WaitError::TimedOut { last, .. } if last == "reason 10"));
    }

    #[tokio::test(start_paused = true)]
    async fn never_ends_at_once() {
        let error = until::<(), _, _>(SHORT, || async { Asked::Never("dead".into()) }).await.expect_err("never");
        assert_eq!(error, WaitError::Never { why: "dead".into() });
    }
}
