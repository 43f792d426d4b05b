-- db/tasks.sql: what `sh run.sh status` tells of the tasks of the part tasks-db: KEY=VALUE lines, as broker/tasks.lua.
-- `unknown`: the worker of one version did not know their name, and postdo_tasks/database.py lets another one have them.
WITH task AS (
    SELECT status = 'RUNNING' AS runs,
        status = 'READY' AND (run_after > '9998-01-01' OR run_after <= now()) AS waits,
        CASE WHEN run_after <= now() THEN greatest(enqueued_at, run_after) ELSE enqueued_at END AS since,
        status = 'FAILED' AS failed,
        status = 'FAILED' AND traceback NOT LIKE '%task.call(%'
            AND exception_class_path IN ('builtins.ImportError', 'builtins.ModuleNotFoundError') AS unknown,
        finished_at
    FROM django_tasks_database_dbtaskresult
)
SELECT unnest(ARRAY[
    'waiting=' || count(*) FILTER (WHERE waits),
    'running=' || count(*) FILTER (WHERE runs),
    'oldest=' || coalesce(extract(epoch FROM now() - min(since) FILTER (WHERE waits))::int::text, ''),
    'failed=' || count(*) FILTER (WHERE failed AND NOT unknown AND finished_at > now() - interval '1 day'),
    'unknown=' || count(*) FILTER (WHERE unknown)
])
FROM task;
