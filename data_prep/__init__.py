"""From raw text to SOP/MLM TFRecords."""
