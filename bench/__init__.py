"""What Tocsin costs, measured on the machine at hand: every figure beside a bare Starlette route in the same run."""
