//! Waiting for a target that is left alone: it is said, it ends by itself or by hand, and not too late.

