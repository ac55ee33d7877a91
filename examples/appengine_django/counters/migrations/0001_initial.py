"""The table of the counters."""

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies: list[tuple[str, str]] = []  # noqa: RUF012 – Django's own form

    operations = [  # noqa: RUF012
        migrations.CreateModel(
            "Counter",
            [
                ("name", models.CharField(max_length=100, primary_key=True, serialize=False)),
                ("count", models.IntegerField(default=0)),
            ],
        )
    ]
