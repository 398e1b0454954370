"""The reviewer's own check of a report, without a network and without running anything."""
