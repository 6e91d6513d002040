"""What leaves: actions by mail, SMS, push and webhook, through one port; and webhooks signed as Standard Webhooks say."""
