pub(crate) mod codec {
    /// The references beside a body.
    pub(crate) struct Enclosed;
}
