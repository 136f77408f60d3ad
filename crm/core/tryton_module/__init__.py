"""The Tryton module `huidu_touchpoint`; tryton.cfg says what it registers."""
