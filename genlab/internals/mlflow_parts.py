"""Private parts of Lightning's logger for MLflow."""

from __future__ import annotations

from typing import Any


def continue_run(logger: Any, tag: str, value: str) -> bool:
    """Let a logger go on with the MLflow run that has a tag; make its experiment if it is missing.

    Lightning's own (``MLFlowLogger.experiment``, 2.6.0 to 2.6.6) begins a new run at every start.

    Args:
        logger: an MLFlowLogger that has not begun.
        tag: name of the tag.
        value: its value.

    Returns:
        True if there was such a run.
    """
    client, name = logger._mlflow_client, logger._experiment_name
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        client.create_experiment(name, artifact_location=logger._artifact_location)
        return False
    where = f"tags.{tag} = '{value}'"
    found = client.search_runs([experiment.experiment_id], where, max_results=1)
    if found and logger._run_id is None:
        logger._run_id = found[0].info.run_id
        client.update_run(logger._run_id, status="RUNNING")
    return bool(found)
