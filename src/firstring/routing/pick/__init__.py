"""Which of those who may, and fit?"""
