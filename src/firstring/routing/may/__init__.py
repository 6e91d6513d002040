"""Who may serve a contact?"""
