"""How anything is trained, evaluated and resumed."""
