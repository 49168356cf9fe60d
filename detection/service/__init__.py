"""The detection service: what is let in, the tasks, who works on them, who may ask.

::

    request ─ http_api ─► admission ─► task_table ─► worker ─► <task id>/detections.json
                 ▲                          │           │
                 └── how far is a task? ────┴───────────┘
"""
