"""Tool use as an environment: tasks over the tool servers, turn by turn, with gold calls nobody shows the agent."""
