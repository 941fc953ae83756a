"""`python -m appliance` is the same command as `appliance`."""

from appliance.cli import main

main()
