//! Pure decisions: state, input and time go in, a decision comes out. Nothing here waits, reads a clock,
//! rolls dice or touches a file, so every rule can be tested as a table or a property.

pub mod balance;
pub mod breaker;
pub mod budget;
pub mod mask;
pub mod model;
pub mod period;
pub mod price;
pub mod retry;
pub mod route;
pub mod schema;
pub mod template;
pub mod tokens;
