from tasearch.cli.commands import main

main()
