"""WebShop: find, choose and buy the product an instruction asks for, in a shop of text pages or of real web pages."""
