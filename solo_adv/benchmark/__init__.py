"""The field's judgement of an encoder: SLF, ALF and AFF with SA, RA and CA."""
