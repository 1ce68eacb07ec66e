from tasearch.cli import main

main()
