//! What can be wrong with a rule, whether it is read from a file or asked for the first time.

/// Why a rule makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// It asks nothing.
    #[error("a rule without a condition would take everything")]
    NoCondition,
    /// It leads nowhere.
    #[error("the model is empty")]
    NoModel,
    /// A keyword that is in every text.
    #[error("a keyword is empty")]
    EmptyKeyword,
    /// A regular expression that matches every text.
    #[error("the regular expression is empty")]
    EmptyRegex,
    /// Not a regular expression.
    #[error("not a regular expression: {0}")]
    Regex(String),
    /// More is needed than allowed.
    #[error("`min` is {min}, which is more than `max`, {max}")]
    Bounds {
        /// At least so many.
        min: u64,
        /// At most so many.
        max: u64,
    },
}
