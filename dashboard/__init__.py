"""What operations staff see: a Streamlit app behind a guard that lets no visitor in without a session."""
