# mypy: disable-error-code="type-arg"
"""The two tables."""

from django.db import migrations, models


def key() -> models.Field:
    """Each model's own."""
    return models.BigAutoField(
        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
    )


class Migration(migrations.Migration):
    """The first."""

    operations = [  # noqa: RUF012 - as Django writes it
        migrations.CreateModel(
            name="Work",
            fields=[
                ("id", key()),
                ("number", models.BigIntegerField(db_index=True)),
                ("began", models.FloatField()),
                ("ended", models.FloatField()),
            ],
        ),
        migrations.CreateModel(
            name="Tick",
            fields=[
                ("id", key()),
                ("task", models.TextField()),
                ("every", models.FloatField()),
                ("sent", models.FloatField()),
            ],
        ),
    ]
