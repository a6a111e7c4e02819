"""What operations staff see: a Streamlit app behind a guard that lets nobody in without a session."""
